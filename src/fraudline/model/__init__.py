"""The model room: what training, scoring and monitoring share of a model."""
