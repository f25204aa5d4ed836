"""Processes are killed at random moments; every accepted generation must still end exactly once."""
