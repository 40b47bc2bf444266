"""What the run of each pipeline has to export."""
