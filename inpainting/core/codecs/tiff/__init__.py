"""TIFF: its directory of tags, and the strips and tiles of an image."""
