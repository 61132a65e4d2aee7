"""Networks to begin with, each a value that makes a fresh one from the form of the data."""
