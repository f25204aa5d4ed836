"""What the garbage collections of a serving process visit."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import pytest

from dreamlayer_site.management.commands import serve
from inpainting.engines.diffusion.engine import Diffusion
from inpainting.garbage import freeze_imports


@pytest.fixture(autouse=True)
def _nothing_is_frozen() -> Iterator[None]:
    gc.unfreeze()
    freeze_imports.cache_clear()
    yield
    gc.freeze()


def is_collected(value: object) -> bool:
    return any(value is other for other in gc.get_objects())


def test_imported_libraries_are_left_out_and_models_are_not() -> None:
    assert is_collected(vars(sys))
    Diffusion().batcher  # noqa: B018 - the first use imports torch
    networks: list[Any] = [{}]
    assert not is_collected(vars(sys.modules["diffusers"]))
    assert not is_collected(vars(sys))
    Diffusion().batcher  # noqa: B018
    assert is_collected(networks), "another engine froze them"


def test_a_server_leaves_the_imported_site_out(monkeypatch: pytest.MonkeyPatch) -> None:
    frozen = []

    class Server:
        def __init__(self, *arguments: object, **options: object) -> None: ...

        def run(self) -> None:
            frozen.append(not is_collected(vars(sys.modules["dreamlayer_site.asgi"])))

    monkeypatch.setattr(serve, "LimitedServer", Server)
    monkeypatch.setattr(serve, "start_problems", nullcontext)  # the database of the tests is another one
    monkeypatch.setattr(serve, "build_static_files", lambda: None)
    monkeypatch.setattr(serve, "start_working", lambda crashed: 0)
    monkeypatch.setattr(serve.Command, "print_addresses", lambda *arguments: None)
    serve.Command().serve(0, stop_seconds=1, crashed=())
    assert frozen == [True]
