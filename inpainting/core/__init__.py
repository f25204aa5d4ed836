"""The painting core: pictures in, pictures out. No Django, no torch, no settings, no clock, no globals."""
