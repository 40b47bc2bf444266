"""Self-contained HTML pages: style, charts, images, and text that is safe to show."""
