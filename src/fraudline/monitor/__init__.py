"""The monitor room: drift since training, and how the scores of earlier days turned out."""
