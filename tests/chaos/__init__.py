"""Processes are killed at every moment; every accepted generation must end exactly once, by itself."""
