"""What differs between the places a stage runs in: arguments, folders, signals, exit codes."""
