"""What is in data, and what a network is really fed: one module for each question."""
