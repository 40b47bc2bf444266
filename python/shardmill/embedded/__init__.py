"""The models that need no weights: `rules` for text, `scene` for images. For trying things out; no worker of a real run imports them."""
