"""Hardware and budget."""
