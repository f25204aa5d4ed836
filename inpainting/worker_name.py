"""The name of this process, as the holder of leases and as the one that loads a network."""

from __future__ import annotations

import os
import socket
import uuid

from django.conf import settings

PARENT = settings.PARENT or uuid.uuid4().hex[:8]


def worker_name(pid: int) -> str:
    """Return the name of a child of this process's parent.

    Host and process ID alone recur in restarted containers.
    """
    return f"{socket.gethostname()}:{pid}:{PARENT}"


WORKER = worker_name(os.getpid())
