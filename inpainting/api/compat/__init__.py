"""Other services' HTTP APIs. Each module but `base` has one, as `DIALECT`, and is found by being here."""
