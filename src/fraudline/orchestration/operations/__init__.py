"""Operate a deployed stack: its state, and the way back from a late, missed or corrected day."""
