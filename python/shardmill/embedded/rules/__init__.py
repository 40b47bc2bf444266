"""English by rules: the text model that needs no weights. One file per task."""
