"""Whole workflows on this computer, in processes or in Docker."""
