"""The features room: 25 features, point in time, the same for training and for a day."""
