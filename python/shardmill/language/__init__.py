"""English for captions: object names, how they relate, where a text mentions them, and what it denies."""
