"""The secret key: generated once and stored in the data folder, readable by its owner only."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path


def load_or_create_secret_key(folder: Path) -> str:
    """Return the key stored in `folder`; create it if there is none. Concurrent processes get the same key."""
    path = folder / "secret-key"
    if not path.exists():
        temporary = folder / f"secret-key.{os.getpid()}"
        temporary.touch(mode=0o600)
        temporary.write_text(secrets.token_urlsafe(64))
        with suppress(FileExistsError):  # another process was first; its key is used
            os.link(temporary, path)
        temporary.unlink()
    return path.read_text().strip()
