"""Trains a setup by the recipe, with the evidence at every step."""
