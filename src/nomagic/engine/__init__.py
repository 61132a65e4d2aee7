"""Trains the members of a setup: all in one program, or each in a process of its own."""
