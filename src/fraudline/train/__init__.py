"""The train room: the model, its artifact, and the gate before production."""
