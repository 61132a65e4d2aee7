"""Curves and monitoring."""
