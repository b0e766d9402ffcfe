"""Measurements of what the README claims, one module per claim."""
