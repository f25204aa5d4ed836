"""HTTP APIs. All dialects share the modules here and `media/`; `native/` and the modules of `compat/` are dialects."""
