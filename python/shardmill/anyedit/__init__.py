"""Edit instructions for pictures, after AnyEdit."""
