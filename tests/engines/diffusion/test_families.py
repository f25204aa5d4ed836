"""Every family of diffusion models is held to the contract."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from inpainting import families
from inpainting.core.setting import DIFFUSION
from tests.contracts.family import FamilyContract
from tests.support import tiny_models


def subclasses(contract: type[FamilyContract]) -> Iterator[type[FamilyContract]]:
    for subclass in contract.__subclasses__():
        yield subclass
        yield from subclasses(subclass)


def test_every_family_has_a_class_of_tests() -> None:
    for path in Path(__file__).parent.glob("test_*.py"):
        if "Contract)" in path.read_text():
            import_module(f"{__package__}.{path.stem}")
    tested = {subclass.family for subclass in subclasses(FamilyContract) if subclass.__name__.startswith("Test")}
    assert tested == set(families.names(engine=DIFFUSION)) == set(tiny_models.BUILDERS)
