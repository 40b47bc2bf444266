"""Captioners: images and prompts in, text out."""
