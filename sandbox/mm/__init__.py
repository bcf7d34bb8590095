"""Memory management, one module per kernel file; the text is that of the base release, 6.6."""
