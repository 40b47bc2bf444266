"""The models that need no weights: `rules` for text, `scene` for images. For trying things out."""
