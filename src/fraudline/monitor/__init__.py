"""The monitor room: drift, earlier days and live metrics."""
