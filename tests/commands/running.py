"""The command `inpaint`, run in this process."""

from __future__ import annotations

import io

from django.core.management import call_command


def inpaint(*arguments: object) -> tuple[str, str]:
    """Run it; return what it wrote to stdout and to stderr."""
    out, err = io.StringIO(), io.StringIO()
    call_command("inpaint", *map(str, arguments), stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()
