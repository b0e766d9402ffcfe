"""The features room: compute features at their point in time, the same for training and for a day."""
