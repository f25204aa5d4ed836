"""Pure functions on pictures, masks and requests. No Django, no torch, no settings, no clock, no globals."""
