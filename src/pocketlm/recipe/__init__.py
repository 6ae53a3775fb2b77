"""Making a model: the data it learns from, and its training."""
