"""Every dialect is held to the contract."""

from __future__ import annotations

import base64
import json
import pkgutil
import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import BaseModel

from accounts.models import ApiKey, User
from inpainting.api import compat
from inpainting.api.compat import huggingface, sd_inpaint
from inpainting.api.compat.iopaint.body import InpaintFields
from inpainting.api.compat.openai.body import ImageForm
from inpainting.api.dialect import Dialect
from inpainting.models import Generation
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
from tests.conftest import png
from tests.contracts.dialect import DialectContract
from tests.support.installation import ROOT

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

CONTRACTS: dict[str, type[DialectContract]] = {
    kind.dialect: kind
    for module in MODULES
    for kind in vars(module).values()
    if isinstance(kind, type) and issubclass(kind, DialectContract) and kind is not DialectContract
}
BODIES: dict[str, tuple[str, dict[str, Any]]] = {
    "automatic1111": ("/sdapi/v1/img2img", {"init_images": ["{image}"], "mask": "{white}"}),
    "deep-image": (
        "/rest_api/process_result",
        {
            "url": "{image}",
            "background": {"generate": {"adapter_type": "inpainting", "ip_image2": "base64,{white}"}},
        },
    ),
    "fooocus": ("/v1/engine/generate", {"inpaint_input_image": "{image}", "inpaint_mask_image_upload": "{white}"}),
    "huggingface": ("/hf/auto", {"inputs": "{photo}", "parameters": {"mask_image": "{mask}"}}),
    "iopaint": ("/api/v1/inpaint", {"image": "{image}", "mask": "{white}"}),
    "mcp": (
        "/mcp",
        {
            **{"jsonrpc": "2.0", "id": 1, "method": "tools/call"},
            "params": {"name": "erase", "arguments": {"image": "{image}", "mask": "{white}"}},
        },
    ),
    "modelslab": (
        "/api/v6/images/inpaint",
        {"model_id": "sd15", "init_image": "{image}", "mask_image": "{white}"},
    ),
    "openai": (
        "/v1/images/edits",
        {"image": "{image}", "mask": "{white}", "mask_polarity": "white_repaints", "prompt": ""},
    ),
}
"""Paths and bodies with the link to an image or to a mask. sd-inpaint takes files alone."""


def test_every_dialect_has_a_class_of_tests() -> None:
    modules = [import_module(f"{compat.__name__}.{found.name}") for found in pkgutil.iter_modules(compat.__path__)]
    dialects = {module.DIALECT.name for module in modules if isinstance(getattr(module, "DIALECT", None), Dialect)}
    assert CONTRACTS.keys() == dialects
    assert BODIES.keys() == dialects - {"sd-inpaint"}


@pytest.mark.django_db(transaction=True)  # Workers are notified on commit.
@pytest.mark.parametrize("name", BODIES)
def test_a_link_leads_its_owner_alone_to_an_image(
    name: str,
    alice: User,
    bob: User,
    generate: Callable[..., Generation],
    photo_png: bytes,
    hole: NDArray[np.uint8],
) -> None:
    start = f"http://testserver/api/generations/{generate(alice).pk}"
    path, body = BODIES[name]
    text = json.dumps(body)
    for place, value in {"image": f"{start}/images/0/", "mask": f"{start}/mask/"}.items():
        text = text.replace(f"{{{place}}}", value)
    for place, data in {"photo": photo_png, "white": png(hole)}.items():
        text = text.replace(f"{{{place}}}", base64.b64encode(data).decode())

    def post(owner: User) -> Any:
        client = CONTRACTS[name]().program(ApiKey.issue(owner)[1])
        return client.post(path, text, content_type="application/json")

    assert post(alice).status_code == 200
    assert Generation.objects.filter(owner=alice, service=name).count() == 1
    CONTRACTS[name]().check_error(post(bob), CONTRACTS[name].bad_image_status)
    assert not Generation.objects.filter(owner=bob).exists()


@pytest.mark.parametrize(
    ("fields", "module"),
    [
        (huggingface.Parameters, test_huggingface),
        (ImageForm, test_openai),
        (InpaintFields, test_iopaint),
        (sd_inpaint.Form, test_sd_inpaint),
    ],
)
def test_no_field_is_left_out_of_the_tests(fields: type[BaseModel], module: ModuleType) -> None:
    text = Path(str(module.__file__)).read_text()
    assert [name for name in fields.model_fields if not re.search(rf"\b{name}\b", text)] == []


def test_every_dialect_has_a_row_in_the_table_of_tests() -> None:
    rows = re.findall(r"^\| `([\w-]+)` \|", (ROOT / "docs/extend/dialects.md").read_text(), re.MULTILINE)
    assert sorted(rows) == sorted(CONTRACTS)
