"""The runtime: how a stage reads, writes and fails."""
