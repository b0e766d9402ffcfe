"""Orchestration: how whole workflows run."""
