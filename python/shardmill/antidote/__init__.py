"""The Antidote pipeline: prompts to synthetic pictures, and what a detector finds in them."""
