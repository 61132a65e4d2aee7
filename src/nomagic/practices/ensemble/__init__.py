"""Ensembles and uncertainty."""
