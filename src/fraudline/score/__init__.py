"""Scoring: the server and its deployment, scores, alerts and the daily report."""
