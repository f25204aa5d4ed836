"""The Model Context Protocol: its messages, and the tools that agents call."""

from __future__ import annotations

import base64
import json
from io import BytesIO
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from django.core import signing
from django.test import Client
from django.utils import timezone
from numpy.typing import NDArray
from PIL import Image
from pytest_django import Settings

from accounts.models import ApiKey, Scope, User
from inpainting.api.compat.mcp import call, uploads
from inpainting.api.compat.mcp.arguments import ROWS
from inpainting.api.compat.mcp.translation import segmenter_for
from inpainting.core.request import InpaintRequest
from inpainting.models import Analysis, Generation, Status, UploadedImage
from inpainting.segmenters import registry
from inpainting.segmenters.base import Hint, Selection
from tests.conftest import png
from tests.contracts.dialect import DialectContract

pytestmark = pytest.mark.django_db(transaction=True)  # Workers are notified on commit.

META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}
STATUSES = {400: 200, 409: 200, 422: 200, 429: 200, 500: 200, 503: 200}
"""Status of the contract -> that of the response: what goes wrong with a tool is a result."""
TOOLS = ["erase", "fill", "extend", "upscale", "select", "describe", "plan", "upload", "result", "cancel"]


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def post(client: Client, body: Any, **headers: str) -> Any:
    return client.post("/mcp", body, content_type="application/json", headers=headers)


def message(method: str, number: Any = 1, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}


def call_tool(client: Client, name: str, **arguments: Any) -> Any:
    return post(client, message("tools/call", name=name, arguments=arguments))


def content(response: Any) -> list[dict[str, Any]]:
    """Return the content of a successful call."""
    assert response.status_code == 200, response.content
    result = response.json()["result"]
    assert result["isError"] is False, result
    found: list[dict[str, Any]] = result["content"]
    return found


def said(response: Any) -> dict[str, Any]:
    """Return the JSON in the text of a successful call."""
    values: dict[str, Any] = json.loads(content(response)[0]["text"])
    return values


def problem(response: Any) -> dict[str, Any]:
    """Return the JSON in the text of a call that went wrong."""
    assert response.status_code == 200, response.content
    result = response.json()["result"]
    assert result["isError"] is True
    assert list(result) == ["content", "isError"]
    values: dict[str, Any] = json.loads(result["content"][0]["text"])
    return values


def error(response: Any, status: int) -> dict[str, Any]:
    """Return the error of the protocol."""
    assert response.status_code == status, response.content
    body = response.json()
    assert (body["jsonrpc"], "result" in body) == ("2.0", False)
    assert {"code", "message"} <= body["error"].keys() <= {"code", "message", "data"}
    found: dict[str, Any] = body["error"]
    return found


def image_at(link: str) -> NDArray[np.uint8]:
    """Return the image behind a link, which needs no key."""
    answer = Client().get(link.removeprefix("http://testserver"))
    assert answer.status_code == 200
    return np.asarray(Image.open(BytesIO(answer.getvalue())))


def painted(response: Any) -> NDArray[np.uint8]:
    """Return the only result, after checking that there are a text, a link and a preview."""
    about, link, preview = content(response)
    values = json.loads(about["text"])
    assert (link["type"], link["mimeType"], values["images"]) == ("resource_link", "image/png", [link["uri"]])
    shown = Image.open(BytesIO(base64.b64decode(preview["data"])))
    assert (preview["type"], preview["mimeType"], shown.format) == ("image", "image/webp", "WEBP")
    image = image_at(link["uri"])
    assert max(shown.size) == min(384, max(image.shape))
    assert (values["width"], values["height"]) == (image.shape[1], image.shape[0])
    assert values["pixels_changed_outside_mask"] == 0
    return image


def check_outside(image: NDArray[np.uint8], photo: NDArray[np.uint8], hole: NDArray[np.uint8]) -> None:
    where = np.any(image != photo, axis=2)
    assert np.count_nonzero(where[hole == 0]) == 0
    assert np.count_nonzero(where[hole > 0]) > np.count_nonzero(hole) / 4


@pytest.fixture
def photo_text(photo_png: bytes) -> str:
    return text(photo_png)


@pytest.fixture
def mask_text(hole: NDArray[np.uint8]) -> str:
    return text(png(hole))


@pytest.fixture
def disc() -> NDArray[np.uint8]:
    """[120, 160, 3] RGB: a red disc of radius 25 around (80, 60) on grey, with some noise."""
    rows, columns = np.mgrid[0:120, 0:160]
    image = np.full((120, 160, 3), 180, int)
    image[(rows - 60) ** 2 + (columns - 80) ** 2 <= 25**2] = (200, 30, 30)
    noise = np.random.default_rng(3).integers(-4, 5, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def is_in_disc(radius: float) -> NDArray[np.bool_]:
    rows, columns = np.mgrid[0:120, 0:160]
    return np.asarray((rows - 60) ** 2 + (columns - 80) ** 2 <= radius**2)


class TestMcp(DialectContract):
    dialect = "mcp"
    failure_status = cancelled_status = 200
    unknown_model_statuses = range(200, 201)
    below_the_prefix = "/mcp/none"

    def send(self, client: Client, photo: bytes, mask: bytes, *, seed: int = 7, **headers: str) -> Any:
        arguments = {"image": text(photo), "mask": text(mask), "prompt": "a rose", "seed": seed}
        return post(client, message("tools/call", name="fill", arguments=arguments), **headers)

    def send_with_model(self, client: Client, photo: bytes, mask: bytes, name: str) -> Any:
        return call_tool(client, "fill", image=text(photo), mask=text(mask), prompt="a rose", model=name)

    def result(self, response: Any) -> object:
        return said(response)["id"]

    def check_error(self, response: Any, status: int) -> None:
        if STATUSES.get(status) == 200:
            assert {"error", "code"} <= problem(response).keys()
            assert problem(response).get("retry_after_seconds") == response.get("Retry-After")
        else:
            error(response, status)


# The protocol


def test_a_client_of_an_earlier_revision_agrees_on_a_version(alices_program: Client) -> None:
    def agree(version: str) -> Any:
        return post(alices_program, message("initialize", protocolVersion=version, capabilities={})).json()["result"]

    assert agree("2025-06-18")["protocolVersion"] == "2025-06-18"
    assert agree("2024-11-05")["protocolVersion"] == "2025-11-25"
    answer = agree("2025-11-25")
    assert answer["serverInfo"]["name"] == "dreamlayer"
    assert answer["capabilities"] == {"tools": {}}
    assert "upload" in answer["instructions"]
    header = {"MCP-Protocol-Version": "2025-11-25"}
    initialized = post(alices_program, {"jsonrpc": "2.0", "method": "notifications/initialized"}, **header)
    assert (initialized.status_code, initialized.content) == (202, b"")
    assert post(alices_program, message("ping", "a"), **header).json() == {"jsonrpc": "2.0", "id": "a", "result": {}}


def stateless(client: Client, method: str, **params: Any) -> Any:
    headers = {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": method}
    if "name" in params:
        headers["Mcp-Name"] = params["name"]
    return post(client, message(method, _meta=META, **params), **headers)


def test_a_client_of_the_newest_revision_needs_no_agreement(alices_program: Client, photo_text: str) -> None:
    found = stateless(alices_program, "server/discover").json()["result"]
    assert found["supportedVersions"] == ["2026-07-28", "2025-11-25", "2025-06-18"]
    listed = stateless(alices_program, "tools/list").json()["result"]
    assert (listed["cacheScope"], listed["ttlMs"] >= 0) == ("private", True)
    described = stateless(alices_program, "tools/call", name="describe", arguments={"image": photo_text})
    assert said(described)["width"] == 96
    for result in (found, listed, described.json()["result"]):
        assert result["resultType"] == "complete"
        assert result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"] == "dreamlayer"


@pytest.mark.parametrize(
    ("headers", "meta", "code"),
    [
        ({"MCP-Protocol-Version": "2025-11-25"}, {}, -32020),
        ({"Mcp-Method": "ping"}, {}, -32020),
        ({"Mcp-Name": "erase"}, {}, -32020),
        ({"Mcp-Name": "=?base64?!?="}, {}, -32020),
        ({"MCP-Protocol-Version": "2027-01-01"}, {"io.modelcontextprotocol/protocolVersion": "2027-01-01"}, -32022),
        ({}, {"io.modelcontextprotocol/clientCapabilities": ...}, -32602),
        ({}, {"io.modelcontextprotocol/protocolVersion": ...}, -32602),
    ],
)
def test_headers_that_contradict_the_body_and_other_versions_are_a_400(
    alices_program: Client, headers: dict[str, str], meta: dict[str, Any], code: int
) -> None:
    right = {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": "upload"}
    sent = {name: value for name, value in {**META, **meta}.items() if value is not ...}
    body = message("tools/call", name="upload", arguments={}, _meta=sent)
    found = error(post(alices_program, body, **{**right, **headers}), 400)
    assert found["code"] == code
    if code == -32022:
        assert found["data"] == {"supported": ["2026-07-28", "2025-11-25", "2025-06-18"], "requested": "2027-01-01"}


def test_the_name_of_a_tool_may_be_encoded_in_its_header(alices_program: Client) -> None:
    headers = {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call"}
    body = message("tools/call", name="upload", arguments={}, _meta=META)
    assert said(post(alices_program, body, **headers, **{"Mcp-Name": f"=?base64?{text(b'upload')}?="}))["url"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("{", -32700),
        (b"\xff\xfe\xfa", -32700),
        ("[]", -32600),
        ('[{"jsonrpc": "2.0", "id": 1, "method": "ping"}]', -32600),
        ({"id": 1, "method": "ping"}, -32600),
        ({"jsonrpc": "2.0", "id": None, "method": "ping"}, -32600),
        ({"jsonrpc": "2.0", "id": True, "method": "ping"}, -32600),
        ({"jsonrpc": "2.0", "id": [1], "method": "ping"}, -32600),
    ],
)
def test_what_is_no_message_is_a_400(alices_program: Client, body: Any, code: int) -> None:
    assert error(post(alices_program, body), 400)["code"] == code


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"jsonrpc": "2.0", "id": 1}, -32600),
        ({"jsonrpc": "2.0", "id": 1, "method": 5}, -32600),
        ({"jsonrpc": "2.0", "id": 1, "method": "ping", "params": []}, -32602),
        ({"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {"_meta": 1}}, -32602),
        (message("resources/list"), -32601),
        (message("tools/call"), -32602),
        (message("tools/call", name="none"), -32602),
        (message("tools/call", name=["erase"]), -32602),
        (message("tools/call", name="upload", arguments=[]), -32602),
    ],
)
def test_a_wrong_request_is_an_error_with_its_id(alices_program: Client, body: Any, code: int) -> None:
    answer = post(alices_program, body)
    assert error(answer, 200)["code"] == code
    assert answer.json()["id"] == 1


def test_an_unknown_method_of_the_newest_revision_is_a_404(alices_program: Client) -> None:
    assert error(stateless(alices_program, "resources/list"), 404)["code"] == -32601


def test_an_unknown_version_of_an_earlier_revision_is_a_400(alices_program: Client) -> None:
    error(post(alices_program, message("ping"), **{"MCP-Protocol-Version": "1900-01-01"}), 400)


@pytest.mark.parametrize(
    "body", [{"id": 4, "result": {}}, {"id": 4, "error": {}}, {"method": "notifications/cancelled"}]
)
def test_notifications_and_responses_are_accepted(alices_program: Client, body: dict[str, Any]) -> None:
    answer = post(alices_program, {"jsonrpc": "2.0", **body})
    assert (answer.status_code, answer.content) == (202, b"")


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT"])
def test_there_is_no_stream_and_no_session(alices_program: Client, method: str) -> None:
    error(alices_program.generic(method, "/mcp"), 405)


def test_a_form_is_refused(alices_program: Client) -> None:
    error(alices_program.post("/mcp", {"jsonrpc": "2.0"}), 415)


# Who may call


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": "http://testserver"}, 200),
        ({"Origin": "http://app.example"}, 200),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://testserver:8000"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
    ],
)
def test_pages_of_other_sites_are_refused(
    alices_program: Client, settings: Settings, headers: dict[str, str], status: int
) -> None:
    settings.CORS_ALLOWED_ORIGINS = ["http://app.example"]
    answer = post(alices_program, message("ping"), **headers)
    assert answer.status_code == status
    assert "result" in answer.json() if status == 200 else error(answer, status)


def test_a_name_of_another_site_that_leads_here_is_refused(alices_program: Client) -> None:
    assert post(alices_program, message("ping"), Origin="http://evil.example", Host="evil.example").status_code == 400


def test_bearer_is_where_clients_have_their_key(alices_key: str) -> None:
    assert post(Client(), message("ping"), Authorization=f"Bearer {alices_key}").status_code == 200
    refused = post(Client(), message("ping"))
    error(refused, 401)
    assert refused["WWW-Authenticate"].startswith("Bearer")


def test_what_others_have_does_not_exist(
    alices_program: Client, bobs_program: Client, photo_text: str, mask_text: str
) -> None:
    erased = said(call_tool(alices_program, "erase", image=photo_text, mask=mask_text))
    for tool in ("result", "cancel"):
        assert problem(call_tool(bobs_program, tool, id=erased["id"]))["code"] == "not_found"
        assert problem(call_tool(bobs_program, tool, id=str(uuid4())))["code"] == "not_found"
    assert problem(call_tool(bobs_program, "describe", image=erased["images"][0]))["code"] == "url_not_allowed"
    assert painted(call_tool(alices_program, "result", id=erased["id"])).shape == (64, 96, 3)


def test_results_need_the_scope_to_read(alice: User, photo_text: str, mask_text: str) -> None:
    program = Client(headers={"X-API-Key": ApiKey.issue(alice, scopes=[Scope.GENERATE])[1]})
    erased = said(call_tool(program, "erase", image=photo_text, mask=mask_text))
    assert problem(call_tool(program, "result", id=erased["id"]))["code"] == "scope_missing"


def test_a_url_is_fetched_through_the_guarded_door(alices_program: Client, mask_text: str) -> None:
    for url in ("http://127.0.0.1:1/a.png", "http://169.254.169.254/latest"):
        found = problem(call_tool(alices_program, "erase", image=url, mask=mask_text))
        assert (found["code"], found["field"]) == ("url_not_allowed", "image")


# The list of tools


def test_the_tools_say_what_they_take_and_do(alices_program: Client) -> None:
    tools = {tool["name"]: tool for tool in post(alices_program, message("tools/list")).json()["result"]["tools"]}
    assert list(tools) == TOOLS
    for tool in tools.values():
        schema, hints = tool["inputSchema"], tool["annotations"]
        assert (schema["type"], schema["additionalProperties"]) == ("object", False)
        assert set(schema.get("required", [])) <= schema["properties"].keys()
        assert "$ref" not in json.dumps(schema)
        for about in schema["properties"].values():
            assert about["description"]
            assert about.keys() & {"type", "enum", "anyOf"}
        assert {type(hints[f"{hint}Hint"]) for hint in ("readOnly", "destructive", "idempotent", "openWorld")} == {bool}
        assert len(tool["description"]) > 50
    assert {name for name, tool in tools.items() if tool["annotations"]["readOnlyHint"]} == {
        "describe",
        "plan",
        "result",
    }
    assert [name for name, tool in tools.items() if tool["annotations"]["destructiveHint"]] == ["cancel"]
    assert tools["fill"]["inputSchema"]["required"] == ["image", "prompt"]
    assert tools["fill"]["inputSchema"]["properties"]["steps"]["maximum"] == 150
    assert "0 for mask, 4 for words" in tools["erase"]["inputSchema"]["properties"]["mask_grow"]["description"]


# Painting


@pytest.mark.parametrize("is_data_url", [True, False])
def test_erase_repaints_the_white_part_of_the_mask(
    alices_program: Client, photo: NDArray[np.uint8], hole: NDArray[np.uint8], photo_text: str, mask_text: str,
    is_data_url: bool,
) -> None:  # fmt: skip
    start = "data:image/png;base64," if is_data_url else ""
    answer = call_tool(alices_program, "erase", image=start + photo_text, mask=start + mask_text, seed=3)
    check_outside(painted(answer), photo, hole)
    about = said(answer)
    assert (about["engine"], about["seed"], about["status"], about["ignored"]) == ("quick-fill", 3, "succeeded", [])


@pytest.mark.parametrize("marks", [{"box": [50, 30, 110, 90]}, {"points": [[80, 60]], "points_beside": [[10, 10]]}])
def test_what_is_marked_is_selected_and_erased_in_one_call(
    alices_program: Client, disc: NDArray[np.uint8], marks: dict[str, Any]
) -> None:
    image = painted(call_tool(alices_program, "erase", image=text(png(disc)), **marks))
    assert np.count_nonzero(np.any(image != disc, axis=2)[~is_in_disc(25 + 4 + 3)]) == 0
    assert np.median(image[is_in_disc(20)][:, 1]) > 120, "nothing red is left"


def test_a_selection_is_a_mask_for_another_call(alices_program: Client, disc: NDArray[np.uint8]) -> None:
    answer = call_tool(alices_program, "select", image=text(png(disc)), box=[50, 30, 110, 90])
    about, link, preview = content(answer)
    values = json.loads(about["text"])
    mask = image_at(values["mask"])
    assert (link["uri"], preview["mimeType"], values["segmenter"]) == (values["mask"], "image/webp", "grabcut")
    assert np.count_nonzero((mask > 0) != is_in_disc(25)) < 120
    assert values["coverage"] == pytest.approx(np.count_nonzero(mask) / mask.size, abs=1e-6)
    assert (values["width"], values["height"]) == (160, 120)
    image = painted(call_tool(alices_program, "erase", image=text(png(disc)), mask=values["mask"]))
    assert np.count_nonzero(np.any(image != disc, axis=2)[mask == 0]) == 0


def test_without_marks_the_main_object_is_selected(alices_program: Client, disc: NDArray[np.uint8]) -> None:
    about = said(call_tool(alices_program, "select", image=text(png(disc))))
    assert about["segmenter"] == "saliency"
    assert np.count_nonzero((image_at(about["mask"]) > 0) & is_in_disc(25)) > 0.8 * np.count_nonzero(is_in_disc(25))


def test_fill_gives_a_model_the_prompt_and_the_settings(
    alices_program: Client, photo_text: str, mask_text: str, hole: NDArray[np.uint8],
    diffusion_requests: list[InpaintRequest],
) -> None:  # fmt: skip
    settings = {"prompt": "a rose", "negative_prompt": "blur", "denoising_strength": 0.6, "steps": 7, "seed": 5}
    answer = call_tool(
        alices_program, "fill", image=photo_text, mask=mask_text, guidance_scale=4, model="tiny", **settings
    )
    (request,) = diffusion_requests
    assert np.array_equal(request.mask[4::8, 4::8] > 127, hole > 0), "the model paints at 768x512"
    sent = request.settings
    assert (sent.prompt, sent.negative_prompt, sent.strength, sent.steps) == ("a rose", "blur", 0.6, 7)
    assert (sent.guidance_scale, sent.seed, sent.mask_grow) == (4, 5, 0)
    assert (said(answer)["engine"], said(answer)["model"]) == ("diffusion", "tiny")


SETTINGS: dict[str, Any] = {
    **{"prompt": "a rose", "negative_prompt": "blur", "denoising_strength": 0.6, "steps": 7, "guidance_scale": 4.0},
    **{"model": "tiny", "mask_grow": 3, "include_shadow": True, "num_images": 2, "seed": 5, "output_format": "webp"},
}
"""A value of each setting that a tool takes, other than its default."""


def test_every_setting_of_fill_is_that_of_the_generation(
    alices_program: Client, photo_text: str, mask_text: str, diffusion_requests: list[InpaintRequest]
) -> None:
    content(call_tool(alices_program, "fill", image=photo_text, mask=mask_text, **SETTINGS))
    settings = Generation.objects.get().requested_settings.settings
    assert {row.public_name: settings[row.name] for row in ROWS} == SETTINGS


@pytest.mark.parametrize(
    ("arguments", "box"),
    [
        ({"outpaint_left": 8}, (104, 64)),
        ({"outpaint_top": 8}, (96, 72)),
        ({"outpaint_right": 8}, (104, 64)),
        ({"outpaint_bottom": 8}, (96, 72)),
        ({"outpaint_size": "128x80"}, (128, 80)),
        ({"outpaint_ratio": "2:1"}, (128, 64)),
    ],
)
def test_extend_reads_each_place(
    alices_program: Client, photo_text: str, arguments: dict[str, Any], box: tuple[int, int]
) -> None:
    about = said(call_tool(alices_program, "plan", tool="extend", arguments={"image": photo_text, **arguments}))
    assert (about["width"], about["height"]) == box


def test_fill_takes_several_results_and_a_lossy_format(
    alices_program: Client, photo_text: str, mask_text: str, diffusion_requests: list[InpaintRequest]
) -> None:
    wanted = {"prompt": "a", "model": "auto", "num_images": 2, "output_format": "jpeg"}
    found = content(call_tool(alices_program, "fill", image=photo_text, mask=mask_text, **wanted))
    assert [part["type"] for part in found] == ["text", "resource_link", "resource_link", "image", "image"]
    assert found[1]["mimeType"] == "image/jpeg"
    assert image_at(found[2]["uri"]).shape == (64, 96, 3)


def test_without_a_model_the_reason_is_said(alices_program: Client, photo_text: str, mask_text: str) -> None:
    about = said(call_tool(alices_program, "fill", image=photo_text, mask=mask_text, prompt="a rose"))
    assert (about["engine"], about["ignored"]) == ("quick-fill", ["prompt"])
    assert "model" in about["engine_reason"]


def test_extend_keeps_the_image(alices_program: Client, photo: NDArray[np.uint8], photo_text: str) -> None:
    image = painted(call_tool(alices_program, "extend", image=photo_text, outpaint_left=32, outpaint_bottom=16))
    assert image.shape == (80, 128, 3)
    assert np.array_equal(image[:64, 32:], photo)
    wide = painted(call_tool(alices_program, "extend", image=photo_text, outpaint_ratio="2:1"))
    assert wide.shape == (64, 128, 3)


def test_upscale_enlarges(alices_program: Client, photo_text: str) -> None:
    assert painted(call_tool(alices_program, "upscale", image=photo_text, model="auto")).shape == (128, 192, 3)
    answer = call_tool(alices_program, "upscale", image=photo_text, scale=1.5, model="lanczos")
    assert painted(answer).shape == (96, 144, 3)
    assert (said(answer)["engine"], said(answer)["model"]) == ("upscale", "lanczos")


def test_describe_says_what_and_how_large(alices_program: Client, photo_text: str) -> None:
    about = said(call_tool(alices_program, "describe", image=photo_text))
    assert (about["captioner"], about["width"], about["height"]) == ("colours", 96, 64)
    assert "photo" in about["description"]


def test_a_plan_paints_nothing(
    alices_program: Client, photo_text: str, mask_text: str, hole: NDArray[np.uint8]
) -> None:
    arguments = {"image": photo_text, "mask": mask_text, "mask_grow": 2}
    about = said(call_tool(alices_program, "plan", tool="erase", arguments=arguments))
    assert (about["engine"], about["width"]) == ("quick-fill", 96)
    assert about["coverage"] > np.count_nonzero(hole) / hole.size
    larger = said(call_tool(alices_program, "plan", tool="upscale", arguments={"image": photo_text}))
    assert (larger["engine"], larger["width"]) == ("upscale", 192)
    assert problem(call_tool(alices_program, "plan", tool="erase", arguments={"image": photo_text}))["field"] == "mask"
    assert not Generation.objects.exists()


@pytest.mark.parametrize(
    ("tool", "arguments", "code", "field"),
    [
        ("erase", {"mask": "{mask}"}, "field_missing", "image"),
        ("erase", {"image": 5, "mask": "{mask}"}, "field_invalid", "image"),
        ("erase", {"image": "no image", "mask": "{mask}"}, "image_base64_invalid", "image"),
        ("erase", {"image": "{photo}", "mask": "{empty}"}, "mask_empty", "mask"),
        ("erase", {"image": "{photo}", "mask": "{text}"}, "mask_type_unsupported", "mask"),
        ("erase", {"image": "{photo}"}, "field_missing", "mask"),
        ("erase", {"image": "{photo}", "mask": "{mask}", "box": [1, 1, 9, 9]}, "field_missing", "mask"),
        ("erase", {"image": "{photo}", "mask": "{mask}", "points_beside": [[1, 1]]}, "field_missing", "mask"),
        ("erase", {"image": "{photo}", "points": [], "points_beside": [[1, 1]]}, "field_missing", "mask"),
        ("erase", {"image": "{photo}", "points": [[1]]}, "field_invalid", "points"),
        ("erase", {"image": "{photo}", "points": [[1, 200]]}, "field_out_of_range", "points"),
        ("erase", {"image": "{photo}", "box": [9, 1, 1, 9]}, "field_invalid", "box"),
        ("erase", {"image": "{photo}", "words": "a cat"}, "model_unavailable", "segmenter"),
        ("erase", {"image": "{photo}", "points": [[5, 5]], "segmenter": "x"}, "segmenter_not_found", "segmenter"),
        ("erase", {"image": "{photo}", "mask": "{mask}", "prompt": "a"}, "field_invalid", "prompt"),
        ("fill", {"image": "{photo}", "mask": "{mask}"}, "field_missing", "prompt"),
        ("fill", {"image": "{photo}", "mask": "{mask}", "prompt": "a", "steps": 0}, "field_out_of_range", "steps"),
        ("fill", {"image": "{photo}", "mask": "{mask}", "prompt": "a", "model": "x"}, "model_not_found", "model"),
        ("extend", {"image": "{photo}"}, "field_missing", "outpaint_left"),
        ("extend", {"image": "{photo}", "outpaint_left": 99_999}, "field_out_of_range", "outpaint_left"),
        ("upscale", {"image": "{photo}", "scale": 9}, "field_out_of_range", "scale"),
        ("plan", {"tool": "describe", "arguments": {}}, "field_invalid", "tool"),
        ("plan", {"tool": "erase", "arguments": {"colour": 1}}, "field_missing", "image"),
        ("result", {"id": "x"}, "field_invalid", "id"),
    ],
)
def test_a_wrong_argument_is_a_result_that_says_so(
    alices_program: Client, photo_text: str, mask_text: str, tool: str, arguments: dict[str, Any], code: str, field: str
) -> None:
    places = {"{photo}": photo_text, "{mask}": mask_text, "{empty}": text(png(np.zeros((64, 96), np.uint8)))}
    places["{text}"] = text(b"no image" * 9)
    sent = {name: places.get(value, value) if isinstance(value, str) else value for name, value in arguments.items()}
    found = problem(call_tool(alices_program, tool, **sent))
    assert (found["code"], found["field"]) == (code, field), found
    assert not Generation.objects.exists()


def test_an_unexpected_error_is_a_result_that_says_nothing_more(
    alices_program: Client, photo_text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inpainting.api.compat.mcp.tools.upload_address", lambda request: 1 / 0)
    assert problem(call_tool(alices_program, "upload"))["code"] == "internal_error"


# Models that find


class ByWords:
    """A segmenter that finds the disc by words."""

    name = label = "by-words"
    reads = needs = frozenset({Hint.WORDS})

    def segment(self, image: object, selection: Selection) -> NDArray[np.uint8]:
        found = selection.words == "the red disc"
        return (is_in_disc(25) * np.uint8(255 if found else 0)).astype(np.uint8)


class Loaded(ByWords):
    def loaded(self) -> None:
        """Its model is in memory."""


@pytest.mark.parametrize("role", ["all", "web"])
def test_words_select_and_erase_in_one_call(
    alices_program: Client, disc: NDArray[np.uint8], settings: Settings, monkeypatch: pytest.MonkeyPatch, role: str
) -> None:
    settings.ROLE = role
    monkeypatch.setattr(registry, "find", lambda name: Loaded())
    image = painted(call_tool(alices_program, "erase", image=text(png(disc)), words="the red disc"))
    assert np.count_nonzero(np.any(image != disc, axis=2)[~is_in_disc(25 + 4 + 3)]) == 0
    assert np.median(image[is_in_disc(20)][:, 1]) > 120
    assert said(call_tool(alices_program, "select", image=text(png(disc)), words="the red disc"))["coverage"] > 0.05
    for tool in ("erase", "select"):
        assert problem(call_tool(alices_program, tool, image=text(png(disc)), words="a cat"))["code"] == "mask_empty"
    assert not Analysis.objects.exists()


def test_an_installed_model_is_preferred(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "installed", lambda catalog: [Loaded()])
    monkeypatch.setattr(registry, "find", lambda name: Loaded() if name == "by-words" else pytest.fail(name))
    assert segmenter_for(Selection(words="a"), {}).name == "by-words"


# Results that take longer


def test_a_long_call_gives_an_id_by_which_its_result_is_found(
    alices_program: Client, photo: NDArray[np.uint8], hole: NDArray[np.uint8], photo_text: str, mask_text: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(call, "WAIT_SECONDS", 0.0)
    about = said(call_tool(alices_program, "erase", image=photo_text, mask=mask_text))
    assert about["status"] in ("queued", "running")
    assert "result" in about["next"]
    check_outside(painted(call_tool(alices_program, "result", id=about["id"])), photo, hole)


def test_a_call_is_cancelled_once(alices_program: Client, photo_text: str, mask_text: str) -> None:
    about = said(call_tool(alices_program, "erase", image=photo_text, mask=mask_text))
    assert problem(call_tool(alices_program, "cancel", id=about["id"]))["code"] == "already_ended"
    Generation.objects.update(status=Status.QUEUED, finished_at=None)
    assert said(call_tool(alices_program, "cancel", id=about["id"])) == {"status": "cancelled"}
    found = problem(call_tool(alices_program, "result", id=about["id"]))
    assert (found["code"], found["id"]) == ("cancelled", about["id"])


@pytest.mark.parametrize("service", ["native", "iopaint"])
def test_only_what_these_tools_made_is_found(
    alices_program: Client, photo_text: str, mask_text: str, service: str
) -> None:
    about = said(call_tool(alices_program, "erase", image=photo_text, mask=mask_text))
    Generation.objects.update(service=service, sent_fields=["a field of its own"])
    for tool in ("result", "cancel"):
        assert problem(call_tool(alices_program, tool, id=about["id"]))["code"] == "not_found"


# Uploads


def test_a_file_is_uploaded_without_a_key(
    alices_program: Client, photo: NDArray[np.uint8], photo_png: bytes, hole: NDArray[np.uint8], mask_text: str
) -> None:
    about = said(call_tool(alices_program, "upload"))
    assert about["url"] in about["command"]
    address = about["url"].removeprefix("http://testserver")
    for content_type in ("application/octet-stream", "image/png", ""):
        answer = Client().generic("POST", address, photo_png, content_type=content_type)
        assert answer.status_code == 201, answer.content
        link = answer.json()["image"]
        check_outside(painted(call_tool(alices_program, "erase", image=link, mask=mask_text)), photo, hole)


def test_an_upload_that_is_no_image_is_refused(alices_program: Client) -> None:
    address = said(call_tool(alices_program, "upload"))["url"].removeprefix("http://testserver")
    error(Client().generic("POST", address, b"no image", content_type="image/png"), 400)
    error(Client().generic("POST", address, b"", content_type="image/png"), 400)
    assert not UploadedImage.objects.exists()


def test_a_link_to_upload_ends(alice: User, alices_program: Client, photo_png: bytes) -> None:
    def send(address: str) -> Any:
        return Client().generic("POST", address.removeprefix("http://testserver"), photo_png, content_type="image/png")

    address = said(call_tool(alices_program, "upload"))["url"]
    error(send(address[:-1]), 404)
    error(send("/mcp/uploads/none"), 404)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(uploads, "SECONDS", -1)
        error(send(address), 404)
    other = signing.TimestampSigner(salt="other", sep=".").sign(f"{alice.pk}-")
    error(send(f"/mcp/uploads/{other}"), 404)
    ApiKey.objects.update(revoked_at=timezone.now())
    error(send(address), 404)
    assert not UploadedImage.objects.exists()


def test_without_keys_the_local_user_uploads(settings: Settings, photo_png: bytes, mask_text: str) -> None:
    settings.ANONYMOUS_API = "on"
    address = said(call_tool(Client(), "upload"))["url"].removeprefix("http://testserver")
    link = Client().generic("POST", address, photo_png, content_type="image/png").json()["image"]
    assert painted(call_tool(Client(), "erase", image=link, mask=mask_text)).shape == (64, 96, 3)
