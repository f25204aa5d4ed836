"""Networks in memory, for engines, segmenters, captioners, preprocessors and the safety checker."""
