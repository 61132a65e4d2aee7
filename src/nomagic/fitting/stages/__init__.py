"""The stages of a fit, each a function from what is known to its evidence."""
