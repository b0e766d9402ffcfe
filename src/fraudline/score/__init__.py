"""The score room: deployment, scores, alerts and the daily report."""
