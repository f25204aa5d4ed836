"""The secret key: made once, kept in the data folder, readable by its owner alone."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path


def secret_key_in(folder: Path) -> str:
    """The key in `folder`, made if there is none. Two processes starting at once end with the same key."""
    path = folder / "secret-key"
    if not path.exists():
        draft = folder / f"secret-key.{os.getpid()}"
        draft.touch(mode=0o600)
        draft.write_text(secrets.token_urlsafe(64))
        with suppress(FileExistsError):  # another process was first: then its key is the one
            os.link(draft, path)
        draft.unlink()
    return path.read_text().strip()
