"""Fraud detection for card transactions, as stages that run in containers."""

__version__ = "0.1.0"
