"""Other services' HTTP APIs. A module with a `DIALECT` is one of them, and is found by being here."""
