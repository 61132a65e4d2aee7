"""Input scaling."""
