"""Generated requests to every service: the answers have the documented statuses and shapes, and none is a crash."""

from __future__ import annotations

import base64
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import schemathesis
import yaml
from django.core.wsgi import get_wsgi_application
from hypothesis import HealthCheck, given, settings
from numpy.typing import NDArray
from schemathesis import BaseSchema, Case, GenerationMode
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import (
    ignored_auth,
    negative_data_rejection,
    positive_data_acceptance,
    unsupported_method,
)

from accounts.models import User
from inpainting.models import Generation
from tests.conftest import png

DOCUMENT = yaml.safe_load((Path(__file__).parent.parent / "payloads/openapi/services.yaml").read_text())
OPERATIONS = [f"{method.upper()} {path}" for path, methods in DOCUMENT["paths"].items() for method in methods]
NO_MODEL = "No diffusion model is installed"
NOT_CHECKED = [ignored_auth, negative_data_rejection, positive_data_acceptance, unsupported_method]
"""Services read much leniently: texts for numbers, unknown ids."""


@pytest.fixture(scope="module")
def schema() -> BaseSchema:
    config = SchemathesisConfig.from_dict({"generation": {"allow-x00": True, "with-security-parameters": False}})
    schema = schemathesis.openapi.from_dict(DOCUMENT, config=config)
    schema.app = get_wsgi_application()
    return schema


@pytest.mark.hypothesis
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize("name", OPERATIONS)
def test_every_answer_of_a_service_has_its_shape(
    name: str,
    mode: GenerationMode,
    schema: BaseSchema,
    alice: User,
    alices_key: str,
    generate: Callable[..., Generation],
    photo: NDArray[np.uint8],
    hole: NDArray[np.uint8],
) -> None:
    operation = schema.find_operation_by_label(name)
    assert operation is not None
    raw = operation.definition.raw
    can_be_invalid = "requestBody" in raw or any(parameter["in"] == "query" for parameter in raw.get("parameters", []))
    if mode is GenerationMode.NEGATIVE and not can_be_invalid:
        return
    images = [base64.b64encode(png(pixels)).decode() for pixels in (photo, hole)]
    reached: dict[int, int] = defaultdict(int)
    few = settings().max_examples // 8  # of the profile's: each example is a request, for each operation and mode

    @settings(max_examples=few, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode))
    def send_case(case: Case) -> None:
        if isinstance(case.body, dict):
            is_form = case.media_type == "multipart/form-data"
            case.body = with_real_values(case.body, *images, key=alices_key, is_form=is_form)
        headers = {"X-API-Key": alices_key, "Host": "testserver"}
        answer = case.call(headers=headers)
        if answer.status_code == 503 and NO_MODEL in answer.text:
            return  # Nothing is left of the image, or none was sent.
        case.validate_response(answer, headers=headers, excluded_checks=NOT_CHECKED)
        reached[answer.status_code] += 1

    send_case()
    if mode is GenerationMode.POSITIVE and "200" in raw["responses"] and "{" not in name:
        assert reached[200], reached


def with_real_values(body: dict[str, Any], image: str, mask: str, *, key: str, is_form: bool) -> dict[str, Any]:
    """Put images and the key in the place of texts, which a schema cannot describe further."""
    real = {
        **{"inputs": image, "image": image, "init_image": image, "inpaint_input_image": image, "base64_string": image},
        **{"mask": mask, "mask_image": mask, "inpaint_mask_image_upload": mask},
        **{"url": f"base64,{image}", "key": key},
    }
    real_bytes = {name: base64.b64decode(real[name]) for name in ("image", "mask") if is_form}
    texts = {name: value for name, value in {**real, **real_bytes}.items() if isinstance(body.get(name), str | bytes)}
    return {**body, **texts}
