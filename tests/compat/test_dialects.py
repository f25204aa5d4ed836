"""Every dialect is held to the contract."""

from __future__ import annotations

import pkgutil
from importlib import import_module

from inpainting.api import compat
from inpainting.api.dialect import Dialect
from tests.compat import (
    test_automatic1111,
    test_deep_image,
    test_fooocus,
    test_huggingface,
    test_iopaint,
    test_mcp,
    test_modelslab,
    test_openai,
    test_sd_inpaint,
)
from tests.contracts.dialect import DialectContract

MODULES = (
    test_automatic1111,
    test_deep_image,
    test_fooocus,
    test_huggingface,
    test_iopaint,
    test_mcp,
    test_modelslab,
    test_openai,
    test_sd_inpaint,
)


def test_every_dialect_has_a_class_of_tests() -> None:
    modules = [import_module(f"{compat.__name__}.{found.name}") for found in pkgutil.iter_modules(compat.__path__)]
    dialects = {module.DIALECT.name for module in modules if isinstance(getattr(module, "DIALECT", None), Dialect)}
    classes = [value for module in MODULES for value in vars(module).values() if isinstance(value, type)]
    tested = {kind.dialect for kind in classes if issubclass(kind, DialectContract) and kind is not DialectContract}
    assert tested == dialects
