"""The private attributes of libraries that the code uses are listed, and the installed libraries have them."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from django.conf import settings

from dreamlayer_site.private_attributes import PRIVATE_ATTRIBUTES, Private

PACKAGES = ("accounts", "dreamlayer_site", "inpainting")
DOCUMENTED = {"_base_manager", "_default_manager", "_meta", "_state", "_exit"}
"""Of Django and of `os`, which document them although their names begin with an underscore."""


def modules() -> Iterator[ast.Module]:
    for package in PACKAGES:
        for path in Path(settings.BASE_DIR, package).rglob("*.py"):
            if "migrations" not in path.parts:
                yield ast.parse(path.read_text())


def private_parts(*modules: str) -> set[str]:
    """The private packages and modules in these dotted names."""
    parts = {part for module in modules for part in module.split(".")}
    return {part for part in parts if part.startswith("_") and not part.startswith("__")}


def used_and_own(tree: ast.Module) -> tuple[set[str], set[str]]:
    """The private names that a module reads from objects, and the names that it defines."""
    used, own = set(), set()
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                own.add(name)
            case ast.Name(id=name, ctx=ast.Store()):
                own.add(name)
            case ast.Attribute(value=ast.Name(id="self"), attr=name, ctx=ast.Store()):
                own.add(name)
            case (
                ast.Attribute(attr=name)
                | ast.Call(func=ast.Name(id="getattr"), args=[_, ast.Constant(value=str(name)), *_])
            ) if name.startswith("_") and not name.startswith("__"):
                used.add(name)
            case ast.Import(names=names):
                used |= private_parts(*(alias.name for alias in names))
            case ast.ImportFrom(module=str(module)):
                used |= private_parts(module)
    return used, own


def test_every_private_attribute_of_a_library_is_listed() -> None:
    found = [used_and_own(tree) for tree in modules()]
    used, own = (set().union(*(names[kind] for names in found)) for kind in (0, 1))
    assert used - own - DOCUMENTED <= {private.name for private in PRIVATE_ATTRIBUTES}


@pytest.mark.parametrize("private", PRIVATE_ATTRIBUTES, ids=lambda private: private.name)
def test_the_installed_library_has_it(private: Private) -> None:
    module, _, name = private.owner.partition(":")
    pytest.importorskip(module.partition(".")[0], reason="this installation does without it")
    owner = import_module(module)
    source = inspect.getsource(getattr(owner, name) if name else owner)
    assert re.search(rf"\b{private.name}\b", source), (
        f"{private.owner} has no {private.name} any more: {private.reason}"
    )
