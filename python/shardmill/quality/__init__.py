"""What a run and its datasets look like."""
