"""What each pipeline measures, and the rules that its data is held to."""
