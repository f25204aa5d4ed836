"""Pure functions on images, masks and requests. No Django, no torch, no settings, no clock, no globals."""
