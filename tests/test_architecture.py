"""Imports point one way, and heavy libraries are imported only by their engines."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
HEAVY = ("torch", "diffusers", "transformers", "accelerate")
IMPORTED_ONLY_BY: dict[str, str | tuple[str, ...]] = dict.fromkeys(HEAVY, "inpainting.engines.diffusion")
IMPORTED_ONLY_BY |= dict.fromkeys(
    ("torch", "transformers"),
    (
        *("inpainting.engines.diffusion", "inpainting.engines.transformers_models"),
        *("inpainting.segmenters.networks", "inpainting.captioning.", "inpainting.preprocessors."),
    ),
)
IMPORTED_ONLY_BY["onnxruntime"] = "inpainting.engines.onnx_sessions"
IMPORTED_ONLY_BY["openvino"] = "inpainting.engines.diffusion.backends.openvino.library"
IMPORTED_ONLY_BY |= dict.fromkeys(("boto3", "botocore", "storages"), "inpainting.storage.s3")
IMPORTED_ONLY_BY["channels_redis"] = "inpainting.realtime.redis_channel_layer"

# From the top down: a package may import packages below it and those on its own line.
FLOORS = [
    [
        *("inpainting.api", "inpainting.web", "inpainting.admin", "inpainting.cli", "inpainting.management"),
        *("inpainting.realtime.consumers", "inpainting.realtime.queue_positions", "inpainting.realtime.routing"),
    ],
    ["inpainting.generations"],
    ["inpainting.tasks"],
    ["inpainting.worker", "inpainting.webhooks", "inpainting.realtime.current_event", "inpainting.realtime.following"],
    [
        "inpainting.accounting",
        "inpainting.moderation",
        "inpainting.planning",
        "inpainting.storage.audit",
        "inpainting.storage.copy",
    ],
    [
        *("inpainting.models", "inpainting.realtime.events", "inpainting.realtime.channel_layers"),
        *("inpainting.realtime.redis_channel_layer", "inpainting.storage", "inpainting.storage.s3"),
        *("inpainting.apps", "inpainting.checks", "inpainting.net", "inpainting.media"),
    ],
    ["inpainting.engines", "inpainting.segmenters", "inpainting.captioning", "inpainting.preprocessors"],
    ["inpainting.catalog"],
    [
        *("inpainting.database", "inpainting.metrics", "inpainting.log_context", "inpainting.image_limits"),
        *("inpainting.garbage", "inpainting.keepalive"),
    ],
    ["inpainting.core"],
]


SURFACES = ("inpainting.api", "inpainting.web", "inpainting.admin", "inpainting.cli", "inpainting.realtime.consumers")


@cache
def modules(package: str) -> dict[str, set[str]]:
    """The names of its modules -> what each imports, also inside functions and for type checkers alone."""
    found = {}
    for path in (ROOT / package).rglob("*.py"):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        found[name] = imports(ast.parse(path.read_text()))
    return found


def imports(tree: ast.Module) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def layer_of(name: str) -> int | None:
    return next(
        (
            number
            for number, floor in enumerate(FLOORS)
            if any(name == room or name.startswith(f"{room}.") for room in floor)
        ),
        None,
    )


def test_every_package_imports_only_packages_below_it() -> None:
    wrong = []
    for name, imported_names in modules("inpainting").items():
        if name.startswith("inpainting.migrations"):
            continue
        here = layer_of(name)
        if here is None:
            assert not imported_names, f"{name} stands on no floor"
            continue
        for imported in imported_names:
            there = layer_of(imported)
            if there is not None and there < here:
                wrong.append(f"{name} imports {imported}")
    assert wrong == []


def imported_modules(imported: set[str], names: set[str]) -> set[str]:
    """Those of the modules `names` that are imported, as a whole or a part of them."""
    found = set()
    for name in imported:
        while name and name not in names:
            name = name.rpartition(".")[0]
        found.add(name)
    return found - {""}


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules that import each other, directly or through others (strongly connected components)."""

    def reachable(start: str) -> set[str]:
        seen: set[str] = set()
        to_visit = [start]
        while to_visit:
            for following in graph[to_visit.pop()] - seen:
                seen.add(following)
                to_visit.append(following)
        return seen

    reached = {name: reachable(name) for name in graph}
    return [
        sorted(other for other in reached[name] if name in reached[other])
        for name in graph
        if name in reached[name] and name == min(other for other in reached[name] if name in reached[other])
    ]


def test_no_modules_import_each_other_in_a_circle() -> None:
    imports_of: dict[str, set[str]] = {}
    for package in ("inpainting", "accounts", "dreamlayer_site"):
        imports_of |= modules(package)
    names = set(imports_of)
    graph = {name: imported_modules(imported, names) - {name} for name, imported in imports_of.items()}
    assert circles(graph) == []


def test_a_circle_is_found_through_other_modules() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}
    assert circles(graph) == [["a", "b", "c"]]


def surface_of(name: str) -> str | None:
    return next((surface for surface in SURFACES if name == surface or name.startswith(f"{surface}.")), None)


def test_no_surface_imports_another() -> None:
    wrong = []
    for name, imported_names in modules("inpainting").items():
        here = surface_of(name)
        if here is None:
            continue
        wrong += [f"{name} imports {found}" for found in imported_names if surface_of(found) not in (None, here)]
    assert wrong == []


def test_the_shared_code_of_dialects_imports_no_dialect() -> None:
    """Only the OpenAPI document and the errors outside of dialects use the native API."""
    native, serving_it = "inpainting.api.native", ("inpainting.api.openapi", "inpainting.api.error_handlers")
    for name, imported_names in modules("inpainting/api").items():
        if not name.startswith((native, *serving_it)):
            assert not [found for found in imported_names if found.startswith(native)], name


def test_no_package_imports_the_site_and_accounts_does_not_import_inpainting() -> None:
    for name, imported_names in {**modules("inpainting"), **modules("accounts")}.items():
        assert not [found for found in imported_names if found.startswith("dreamlayer_site")], name
    for name, imported_names in modules("accounts").items():
        assert not [found for found in imported_names if found.startswith("inpainting")], name


def test_the_core_is_pure() -> None:
    allowed = {*sys.stdlib_module_names, "numpy", "cv2", "PIL", "pi_heif", "isal", "inpainting"}
    allowed -= {"gc", "threading", "time"}  # neither the process nor its clock
    for name, imported_names in modules("inpainting/core").items():
        assert {found.partition(".")[0] for found in imported_names} <= allowed, name


def test_no_test_module_imports_another() -> None:
    """Shared test code belongs into a helper module, or into a fixture of a conftest.py."""
    imports_of = modules("tests")
    test_modules = {name for name in imports_of if name.rpartition(".")[2].startswith("test_")}
    found = {name: imported_modules(imported, test_modules - {name}) for name, imported in imports_of.items()}
    assert {name: imported for name, imported in found.items() if imported} == {}


def test_heavy_libraries_are_imported_by_their_engine_alone() -> None:
    for package in ("inpainting", "accounts", "dreamlayer_site"):
        for name, imported_names in modules(package).items():
            for found in imported_names:
                importer = IMPORTED_ONLY_BY.get(found.partition(".")[0])
                assert importer is None or name.startswith(importer), f"{name} imports {found}"


def test_a_command_starts_without_views_servers_and_heavy_libraries() -> None:
    """`manage.py inpaint` would otherwise wait for them; importing all takes a second."""
    program = "import django, sys; django.setup(); print(*sys.modules)"
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "dreamlayer_site.settings"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, cwd=ROOT, capture_output=True, check=True)
    not_yet = {*IMPORTED_ONLY_BY, "rest_framework.views", "dreamlayer_site.urls", "twisted", "scipy", "psycopg"}
    assert not_yet.isdisjoint(done.stdout.decode().split())


@pytest.mark.parametrize("word", ["torch.load", "pickle.load", "trust_remote_code=True", "allow_pickle=True"])
def test_no_module_reads_pickles_or_runs_remote_code(word: str) -> None:
    for package in ("inpainting", "accounts", "dreamlayer_site"):
        for path in (ROOT / package).rglob("*.py"):
            assert word not in path.read_text(), path
