"""Per family: prompt encoding, start of a sample, and prediction."""
