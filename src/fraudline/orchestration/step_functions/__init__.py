"""AWS Step Functions: the state machines of the workflows, rendered from their plans."""
