"""No answer, stored error, webhook or event says where files are on the server, whatever is wrong with them."""

from __future__ import annotations

import errno
import json
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadhandler import MemoryFileUploadHandler
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

pytest.importorskip("torch", reason="diffusion is not installed")
pytest.importorskip("onnxruntime", reason="the erase engine is not installed")

import numpy as np
from PIL import Image
from safetensors.numpy import save_file

from accounts.models import User
from inpainting.catalog.inspection.files import ONNX, WEIGHTS
from inpainting.core.places import PLACE
from inpainting.engines.base import Queue
from inpainting.engines.quick_fill.engine import QuickFill
from inpainting.generations import analyses, submit
from inpainting.models import Analysis, Generation, Status, WebhookDelivery
from inpainting.realtime import events
from inpainting.storage import DurableFileSystemStorage
from inpainting.webhooks import message_body
from inpainting.worker.run import run_waiting
from tests.api.bodies import shape_a, text, upload
from tests.support import (
    original_layout,
    tiny_adapters,
    tiny_checker,
    tiny_embeddings,
    tiny_loras,
    tiny_models,
    tiny_networks,
    tiny_vaes,
    tiny_vision_models,
)
from tests.support.catalog_entries import add_lora, add_model
from tests.support.file_checks import CHECKS
from tests.support.installation import ROOT
from tests.support.matrix import each_value_once

pytestmark = pytest.mark.django_db(transaction=True)  # Webhooks are queued on commit.

HOOK, ASYNC = "https://alice.example/hook", {"Prefer": "respond-async"}
PAINTED: dict[str, dict[str, str]] = {
    "whole": {"model": "whole"},
    "one-file": {"model": "one-file"},
    "fill": {"model": "fill"},
    "ink": {"loras": '[{"slug": "ink"}]'},
    "edges": {"control": "edges"},
    "soft": {"vae": "soft"},
    "look": {"ip_adapter": "look"},
    "cat": {"embeddings": '["cat"]', "prompt": "a <cat>"},
    "lama": {"model": "lama", "prompt": ""},
    "safety-checker": {"engine": "quick-fill", "safety_checker": "true"},
    "depth-anything-v2-small": {"control": "near"},
}
"""Slug of a model -> the fields of a generation that loads it."""
ANALYSED: dict[str, dict[str, Any]] = {
    "u2netp": {"segmenter": "u2netp"},
    "slimsam": {"segmenter": "slimsam", "points": [[30, 30, 1]]},
    "blip-base": {},
}
"""Slug of a model -> the fields of an analysis that loads it."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    for slug in ("base", "whole"):
        tiny_models.saved(folder / slug)
    tiny_models.saved(folder / "fill", "flux-fill")
    pipeline = tiny_models.sd(folder / "scratch")
    original_layout.saved(pipeline, folder / "one-file.safetensors")
    tiny_loras.saved(folder / "ink.safetensors", tiny_loras.weights(pipeline, parts=["unet"]))
    for slug in ("edges", "near"):
        tiny_adapters.controlnet("sd").save_pretrained(folder / slug, safe_serialization=True)
    tiny_vaes.saved(folder / "soft")
    tiny_adapters.saved_adapter(folder / "look", "sd", tiny_adapters.adapter(pipeline.unet))
    tiny_embeddings.saved(folder / "cat.safetensors")
    (folder / "lama.onnx").write_bytes(tiny_networks.lama())
    (folder / "u2netp.onnx").write_bytes(tiny_networks.salient())
    tiny_checker.saved(folder / "safety-checker", tiny_checker.checker())
    for slug, family in (("slimsam", "sam"), ("blip-base", "blip"), ("depth-anything-v2-small", "depth-anything")):
        tiny_vision_models.saved(folder / slug, family)
    return folder


@pytest.fixture
def models(files: Path, models_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The models folder, with a model of every kind."""
    tiny_embeddings.allow(monkeypatch)
    small: dict[str, Any] = {"width": 64, "height": 64, "steps": 1}
    for slug in ("base", "whole"):
        add_model(slug, files / slug, **small)
    add_model("fill", files / "fill", family="flux-fill", **small)
    add_model("one-file", files / "one-file.safetensors", "--config", "base", **small)
    add_lora("ink", files / "ink.safetensors")
    add_model("edges", files / "edges", "--kind", "controlnet", "--control", "canny")
    add_model("near", files / "near", "--kind", "controlnet", "--control", "depth")
    add_model("soft", files / "soft", "--kind", "vae")
    add_model("look", files / "look", "--kind", "ip-adapter")
    add_model("cat", files / "cat.safetensors", "--kind", "embedding")
    for name in ("lama.onnx", "u2netp.onnx", "safety-checker", "slimsam", "blip-base", "depth-anything-v2-small"):
        slug = name.removesuffix(ONNX)
        call_command("pull_model", slug, "--yes", f"--from={files / name}", stdout=StringIO())
    return models_dir


def weights_in(place: Path) -> list[Path]:
    return sorted(path for path in place.rglob("*") if path.suffix in (WEIGHTS, ONNX))


def lose_a_shard(path: Path) -> None:
    """Leave the first of two shards of a network, or nothing of a file that is no such network."""
    stem = path.name.removesuffix(WEIGHTS)
    if stem in ("model", "diffusion_pytorch_model"):
        names = [f"{stem}-0000{number}-of-00002{WEIGHTS}" for number in (1, 2)]
        path.with_name(f"{path.name}.index.json").write_text(json.dumps({"weight_map": {name: name for name in names}}))
        path.rename(path.with_name(names[0]))
    else:
        path.unlink()


def replace_by_another_network(path: Path) -> None:
    if path.suffix == ONNX:
        path.write_bytes(tiny_networks.migan() if "lama" in path.name else tiny_networks.lama())
    else:
        path.unlink()
        save_file({"x": np.ones((2, 2), np.float32)}, path, metadata={"format": "pt"})


def replace_by_text(path: Path) -> None:
    path.unlink()
    path.write_bytes(b"This is no network. " * 20)


def make_unreadable(path: Path) -> None:
    """Put a folder in place of the file: root reads a file whatever its permissions are."""
    path.unlink()
    path.mkdir()


DAMAGE: dict[str, Callable[[Path], None]] = {
    "a missing shard": lose_a_shard,
    "another network": replace_by_another_network,
    "text": replace_by_text,
    "an unreadable file": make_unreadable,
}


def damage(models: Path, kind: str) -> None:
    """Damage every model but the one that the adapters are for."""
    for place in models.iterdir():
        if place.name in ("base", "near"):
            continue
        if kind == "a missing folder":
            shutil.rmtree(place) if place.is_dir() else place.unlink()
            continue
        for path in weights_in(place) if place.is_dir() else [place]:
            DAMAGE[kind](path)


@pytest.mark.parametrize(("kind", "is_checked"), each_value_once([*DAMAGE, "a missing folder"], [True, False]))
def test_the_errors_of_damaged_models_name_no_place_on_the_server(
    kind: str,
    is_checked: bool,
    alices_program: Client,
    models: Path,
    photo_png: bytes,
    mask_png: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """is_checked: false where a file is damaged between its check and its loading."""

    def ask(slug: str, **headers: str) -> Any:
        if slug in PAINTED:
            fields: dict[str, Any] = {"model": "base", **PAINTED[slug], "webhook_url": HOOK}
            if slug == "look":
                fields["ip_adapter_image"] = upload(photo_png)
            return alices_program.post("/api/img2img", shape_a(photo_png, mask_png, **fields), headers=headers)
        path = "captions" if slug == "blip-base" else "masks"
        body = {"image": text(photo_png), "webhook_url": HOOK, **ANALYSED[slug]}
        return alices_program.post(f"/api/{path}/", body, content_type="application/json", headers=headers)

    with monkeypatch.context() as waiting:
        for module in (submit, analyses):
            waiting.setattr(module, "notify_workers", lambda queue: None)
        accepted = {slug: ask(slug, **ASYNC) for slug in (*PAINTED, "u2netp", "slimsam")}
        assert {answer.status_code for answer in accepted.values()} == {202}
        damage(models, kind)
        if not is_checked:
            for check in CHECKS:
                monkeypatch.setattr(check, lambda *arguments: None)
        for queue in Queue:
            run_waiting(queue)
    work = [*Generation.objects.all(), *Analysis.objects.all()]
    assert {one.status for one in work} == {Status.FAILED}
    again = {slug: ask(slug) for slug in (*PAINTED, *ANALYSED)}
    routes = {Generation: "generation-detail", Analysis: "analysis"}
    ended = [alices_program.get(reverse(routes[type(one)], args=[one.pk])) for one in work]
    answers = [*accepted.values(), *again.values(), *ended]
    errors = [one.error_message for model in (Generation, Analysis) for one in model.objects.all()]
    webhooks = [(message_body(delivery) or b"").decode() for delivery in WebhookDelivery.objects.all()]
    assert len(webhooks) >= len(work)
    for said in (*(answer.content.decode() for answer in answers), *errors, *webhooks):
        assert not [place for place in (str(tmp_path), sys.prefix, str(ROOT)) if place in said], said
    assert [error for error in errors if PLACE.search(error)] == []


SECRET = "/srv/secret"
PLACES = {
    "the engine": (QuickFill, "inpaint"),
    "what is stored": (DurableFileSystemStorage, "_save"),
    "what is read": (DurableFileSystemStorage, "_open"),
    "an upload": (MemoryFileUploadHandler, "receive_data_chunk"),
    "a decoder": (Image, "open"),
}
"""Where an error of the system is raised -> the class or module and the name of its function."""


def body_of(answer: Any) -> bytes:
    """The body, as far as it is sent: that of a stored file breaks off where the file cannot be read."""
    sent = b""
    with suppress(OSError):
        for chunk in answer if answer.streaming else [answer.content]:
            sent += chunk
    return sent


@pytest.mark.parametrize(("where", "number"), each_value_once([*PLACES], [None, errno.EIO, errno.EACCES, errno.ENOENT]))
def test_the_errors_of_the_system_name_no_place_on_the_server(
    where: str,
    number: int | None,
    alice: User,
    alices_program: Client,
    photo_png: bytes,
    mask_png: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """number: of the error; None for one with a sentence alone."""
    browser, raised, sent = Client(raise_request_exception=False), list[OSError](), list[Any]()
    alices_program.raise_request_exception = False
    browser.force_login(alice)

    def fail(*arguments: Any, **named: Any) -> Any:
        file = f"{SECRET}/disk/picture"
        raised.append(OSError(f"cannot read {file}") if number is None else OSError(number, "refused", file))
        raise raised[-1]

    def ask(image: bytes, **headers: str) -> Any:
        fields = shape_a(image, mask_png, prompt="", engine="quick-fill", webhook_url=HOOK)
        return alices_program.post("/api/img2img", fields, headers=headers)

    gif = BytesIO()
    Image.open(BytesIO(photo_png)).save(gif, "GIF")
    monkeypatch.setattr(events, "publish", lambda *arguments: sent.append(arguments))
    assert ask(photo_png).status_code == 200
    with monkeypatch.context() as waiting:
        waiting.setattr(submit, "notify_workers", lambda queue: None)
        assert ask(photo_png, **ASYNC).status_code == 202
    painted, queued = Generation.objects.order_by("created_at")
    monkeypatch.setattr(*PLACES[where], fail)
    run_waiting(Queue.CPU)
    answers = [ask(photo_png), ask(gif.getvalue())]
    answers += [alices_program.post("/api/upload-mask", {"mask": upload(mask_png)})]
    answers += [alices_program.post("/api/plan/", {"image": upload(gif.getvalue()), "engine": "quick-fill"})]
    for one in (painted, queued):
        path = reverse("generation-detail", args=[one.pk])
        below = ("", "source/", "source/preview/", "mask/", "images/0/", "images/0/?format=jpeg", "stack/")
        answers += [alices_program.get(path + name) for name in below]
        answers += [browser.get(reverse("generation", args=[one.pk]))]
    answers += [browser.get(reverse(name)) for name in ("history", "storage", "editor")]
    assert raised
    texts = [body_of(answer) for answer in answers]
    texts += [message_body(delivery) or b"" for delivery in WebhookDelivery.objects.all()]
    said = [data.decode(errors="replace") for data in texts]
    said += [one.error_message for one in Generation.objects.all()] + [repr(event) for event in sent]
    assert [words for words in said if SECRET in words] == []
