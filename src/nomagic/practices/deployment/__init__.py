"""Deployment and engineering."""
