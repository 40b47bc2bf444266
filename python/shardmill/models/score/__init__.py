"""Models that score how well texts fit an image."""
