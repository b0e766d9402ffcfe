"""What training, scoring and monitoring share about a model: artifact, metrics, calibration, feature tables."""
