"""How often a request runs the network of a diffusion model, which decides how long it takes."""

from __future__ import annotations

from collections.abc import Collection


def network_calls(steps: int | None, lanpaint_steps: int | None, ignored: Collection[str]) -> int:
    """Return the number of calls for one image: 1 + `lanpaint_steps` for each step, 0 without steps.

    ignored: the names of the request's settings without effect.
    """
    inner_steps = 0 if "lanpaint_steps" in ignored else lanpaint_steps or 0
    return (steps or 0) * (1 + inner_steps)
