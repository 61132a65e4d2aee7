"""Skeleton and sanity."""
