"""How often a request runs the network of a diffusion model, which decides how long it takes."""

from __future__ import annotations

from collections.abc import Collection


def network_calls(
    steps: int | None, lanpaint_steps: int | None, ignored: Collection[str], *, regions: Collection[object] = ()
) -> int:
    """Return the number of calls for one image: 1 + `lanpaint_steps` for each step and each prompt, 0 without steps.

    ignored: the names of the request's settings without effect.
    regions: each of which has a prompt beside that of the request.
    """
    inner_steps = 0 if "lanpaint_steps" in ignored else lanpaint_steps or 0
    prompts = 1 if "regions" in ignored else 1 + len(regions)
    return (steps or 0) * (1 + inner_steps) * prompts
