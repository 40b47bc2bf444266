"""Caption files of known data sets as one table of captions."""
