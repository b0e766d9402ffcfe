"""A whole workflow on this machine, in processes or in Docker."""
