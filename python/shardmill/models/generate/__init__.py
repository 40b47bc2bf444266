"""Text-to-image models: prompts in, image files out."""
