"""Puts tricks to the trial: pairs of runs, a test after each lot, a verdict for each trick."""
