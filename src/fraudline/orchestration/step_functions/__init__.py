"""AWS Step Functions: the state machines of the workflows."""
