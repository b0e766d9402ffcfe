"""What the README claims, measured: one file a claim."""
