"""Operations of torch, counted."""

from __future__ import annotations

from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

VIEWS = {
    "view",
    "_unsafe_view",
    "slice",
    "select",
    "unsqueeze",
    "expand",
    "split",
    "split_with_sizes",
    "unbind",
    "alias",
}


class Operations(TorchDispatchMode):  # type: ignore[misc]  # torch gives it no type
    """Collects the operations that compute, within the context."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function.overloadpacket.__name__
        if name not in VIEWS:
            self.names.append(name)
        return function(*args, **(kwargs or {}))
