"""Painters: prompts in, image files out."""
