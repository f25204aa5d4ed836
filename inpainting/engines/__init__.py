"""What paints. An engine knows the core and nothing else of the house."""
