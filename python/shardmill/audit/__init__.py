"""People check a sample: what is drawn, the page and sheet to fill in, and what the sheets say."""
