"""Imports point one way, and heavy libraries are imported only by their engines."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from inpainting import families

ROOT = Path(__file__).resolve().parent.parent
HEAVY = ("torch", "diffusers", "transformers", "accelerate")
IMPORTED_ONLY_BY: dict[str, str | tuple[str, ...]] = dict.fromkeys(
    HEAVY, ("inpainting.engines.diffusion", "inpainting.networks")
)
IMPORTED_ONLY_BY |= dict.fromkeys(
    ("torch", "transformers"),
    (
        *("inpainting.engines.diffusion", "inpainting.networks"),
        *("inpainting.segmenters.networks", "inpainting.captioning.", "inpainting.preprocessors."),
        "inpainting.upscalers.networks",
    ),
)
READS_PICKLES = "inpainting/networks/unpickled.py"
"""A program for `add_model`, which runs in a process of its own and reads weights alone."""
FAMILY_NETWORK = re.compile(r"inpainting\.families\.\w+\.(network|controlnet|image_prompts)\Z")
"""The modules of the families that may import torch and diffusers. They stand above the rest of their packages."""
IMPORTED_ONLY_BY["onnxruntime"] = "inpainting.networks.onnx_sessions"
IMPORTED_ONLY_BY["c2pa"] = ("inpainting.media.signing", "inpainting.media.source_credentials")
IMPORTED_ONLY_BY["numba"] = "inpainting.core.compiled"
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
        "inpainting.database.fair_tags",
    ],
    ["inpainting.engines"],
    ["inpainting.segmenters", "inpainting.captioning", "inpainting.preprocessors", "inpainting.upscalers"],
    ["inpainting.networks"],
    ["inpainting.catalog", "inpainting.families"],
    [
        *("inpainting.database", "inpainting.metrics", "inpainting.log_context", "inpainting.image_limits"),
        *("inpainting.garbage", "inpainting.keepalive", "inpainting.translation", "inpainting.worker_name"),
    ],
    ["inpainting.core"],
]


SURFACES = ("inpainting.api", "inpainting.web", "inpainting.admin", "inpainting.cli", "inpainting.realtime.consumers")

NAMES_A_FAMILY = {
    "inpainting.catalog.shipped": "lists published models with their families",
    "inpainting.catalog.inspection.few_step_models": "recognises published LoRAs by their names",
    "inpainting.api.compat": "has another service's names of models and settings",
    "inpainting.worker.warm_up": "loads the model of the SD Inpainting API",
    "dreamlayer_site.settings": "has the switch for the model of the SD Inpainting API",
    "dreamlayer_site.private_attributes": "names what diffusers calls after the family",
    "inpainting.engines.diffusion.sampling.flow_schedulers": "imports what diffusers keeps with one family's pipeline",
    "inpainting.captioning": "computes with the models of each family in a module of its own",
    "inpainting.preprocessors": "computes with the models of each family in a module of its own",
    "inpainting.segmenters.networks": "computes with the models of each family in a module of its own",
    "inpainting.upscalers.networks": "computes with the models of each family in a module of its own",
    "inpainting.engines.erase.network_inputs": "makes the inputs of each family's networks",
}
"""Modules and packages outside the families that name one -> what they do that needs the name."""
SHARED_NAMES = {"safety_checker"}
"""Names that are also those of a setting, so that every part of the program has them."""


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
    if FAMILY_NETWORK.match(name):
        return layer_of("inpainting.engines")
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
    allowed = {*sys.stdlib_module_names, "numpy", "cv2", "PIL", "numba", "pi_heif", "isal", "inpainting"}
    allowed -= {"gc", "threading", "time"}  # neither the process nor its clock
    for name, imported_names in modules("inpainting/core").items():
        assert {found.partition(".")[0] for found in imported_names} <= allowed, name


def test_no_test_module_imports_another() -> None:
    """Shared test code belongs into a helper module, or into a fixture of a conftest.py."""
    imports_of = modules("tests")
    test_modules = {name for name in imports_of if name.rpartition(".")[2].startswith("test_")}
    comparing = {"tests.compat.test_dialects", "tests.engines.test_every_engine"}  # classes of tests with a registry
    found = {
        name: imported_modules(imported, test_modules - {name})
        for name, imported in imports_of.items()
        if name not in comparing
    }
    assert {name: imported for name, imported in found.items() if imported} == {}


def test_heavy_libraries_are_imported_by_their_engine_alone() -> None:
    for package in ("inpainting", "accounts", "dreamlayer_site"):
        for name, imported_names in modules(package).items():
            for found in imported_names:
                library = found.partition(".")[0]
                importer = IMPORTED_ONLY_BY.get(library)
                is_network = library in HEAVY and FAMILY_NETWORK.match(name)
                assert importer is None or is_network or name.startswith(importer), f"{name} imports {found}"


def test_the_network_of_a_family_is_imported_by_those_of_other_families_alone() -> None:
    """The declaration names it by its path, so a process without models of the family never loads it."""
    for name, imported_names in modules("inpainting").items():
        networks = [found for found in imported_names if FAMILY_NETWORK.match(found.rpartition(".")[0])]
        assert not networks or FAMILY_NETWORK.match(name), f"{name} imports {networks}"


def family_names() -> set[str]:
    """The names of all families and of their packages, with underscores."""
    names = {name.replace("-", "_") for name in families.names()}
    packages = {path.parent.name for path in (ROOT / "inpainting/families").glob("*/__init__.py")}
    return (names | packages) - SHARED_NAMES


def names_in(text: str, names: set[str]) -> set[str]:
    """Those of `names` that are words of a text, in whatever spelling."""
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", text)
    plain = re.sub(r"[^a-z0-9]", "_", parted.lower())
    return {name for name in names if re.search(rf"(?<![a-z0-9]){name}(?![a-z0-9])", plain)}


def code_words(tree: ast.Module) -> Iterator[str]:
    """Identifiers, imports and strings, without docstrings."""
    documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str() as text) if id(node) not in documentation:
                yield text
            case ast.Name(id=text) | ast.Attribute(attr=text) | ast.arg(arg=text) | ast.keyword(arg=str() as text):
                yield text
            case ast.FunctionDef(name=text) | ast.AsyncFunctionDef(name=text) | ast.ClassDef(name=text):
                yield text
            case ast.ImportFrom(module=text, names=aliases):
                yield from (text or "", *(alias.name for alias in aliases))
            case ast.Import(names=aliases):
                yield from (alias.name for alias in aliases)


def test_no_other_module_names_a_family() -> None:
    names, wrong, excused = family_names(), [], set()
    for package in ("inpainting", "accounts", "dreamlayer_site"):
        for path in sorted((ROOT / package).rglob("*.py")):
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            if module.startswith(("inpainting.families", "inpainting.migrations")):
                continue
            words = {*code_words(ast.parse(path.read_text()))}
            found = names_in(" | ".join(words), names)  # at once, in a tenth of the time; no name has three underscores
            reasons = {known for known in NAMES_A_FAMILY if module.startswith(known)}
            excused |= reasons if found else set()
            wrong += [] if reasons else [f"{module} names {name}" for name in sorted(found)]
    for path in sorted((ROOT / "static").rglob("*.js")):
        texts = re.findall(r"""["'`]([\w-]+)["'`]""", path.read_text())
        wrong += [f"{path.name} names {text}" for text in texts if text.replace("-", "_") in names]
    assert wrong == []
    assert excused == NAMES_A_FAMILY.keys(), "a reason that no module needs any more"


def test_the_inspection_of_files_names_no_family_in_its_texts_either() -> None:
    for path in sorted((ROOT / "inpainting/catalog/inspection").glob("*.py")):
        if path.stem != "few_step_models":
            assert not names_in(path.read_text(), family_names()), path.name


def test_a_name_is_found_in_every_spelling() -> None:
    names = {"flux_fill", "flux"}
    assert names_in("FluxFill", names) == names_in("flux-fill", names) == names_in("FLUX_FILL", names) == names
    assert names_in("read_flux", names) == {"flux"}
    assert names_in("fluxion influx", names) == set()


def test_a_command_starts_without_views_servers_and_heavy_libraries() -> None:
    """`manage.py inpaint` would otherwise wait for them; importing all takes a second."""
    program = "import django, sys; django.setup(); print(*sys.modules)"
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "dreamlayer_site.settings"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, cwd=ROOT, capture_output=True, check=True)
    not_yet = {*IMPORTED_ONLY_BY, "rest_framework.views", "dreamlayer_site.urls", "twisted", "scipy", "psycopg"}
    assert not_yet.isdisjoint(done.stdout.decode().split())


def test_no_module_imports_the_program_that_reads_pickles() -> None:
    name = READS_PICKLES.removesuffix(".py").replace("/", ".")
    assert not [module for module, imported_names in modules("inpainting").items() if name in imported_names]


@pytest.mark.parametrize("word", ["torch.load", "pickle.load", "trust_remote_code=True", "allow_pickle=True"])
def test_no_module_reads_pickles_or_runs_remote_code(word: str) -> None:
    for package in ("inpainting", "accounts", "dreamlayer_site"):
        for path in (ROOT / package).rglob("*.py"):
            text = path.read_text()
            if path == ROOT / READS_PICKLES:
                text = text.replace('torch.load(path, map_location="cpu", weights_only=True)', "")
            assert word not in text, path
