"""Loss and output."""
