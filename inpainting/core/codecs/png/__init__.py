"""PNG: its chunks, the texts in them, and encoding."""
