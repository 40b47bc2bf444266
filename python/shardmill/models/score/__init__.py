"""Models that say how well texts fit an image."""
