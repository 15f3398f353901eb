"""Flask room: HTTP in, HTTP out."""
