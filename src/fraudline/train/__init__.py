"""Training: the booster, its calibration, and the gate that decides on deployment."""
