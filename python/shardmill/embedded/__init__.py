"""The models that need neither weights nor a GPU, for trying things out: `rules` for text, `scene` for images."""
