"""What changed between two runs of one pipeline."""
