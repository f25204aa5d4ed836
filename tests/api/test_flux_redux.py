"""FLUX.1 Redux in the API and in the editor: an IP-Adapter that models of two families take."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from django.test import Client
from skimage import data

from accounts.models import User
from inpainting.catalog.lookup import Catalog
from inpainting.models import InferenceModel
from tests.api.bodies import upload
from tests.api.painting import answer_for, metadata_for, result
from tests.conftest import png
from tests.support import tiny_adapters, tiny_models
from tests.support.catalog_entries import add_model

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("models")]


@pytest.fixture
def models(tmp_path: Path, models_dir: Path) -> None:
    """A model of FLUX.1 Fill and one of Kontext, and Redux, which is for the former."""
    for family in ("flux-fill", "flux-kontext"):
        tiny_models.saved(tmp_path / family, family)
        add_model(f"tiny-{family}", tmp_path / family, family=family, width=64, height=64, steps=2)
    tiny_adapters.saved_redux(tmp_path / "look")
    add_model("look", tmp_path / "look", "--kind", "ip-adapter", family="flux-dev")


def test_a_model_of_fill_paints_with_it(alices_program: Client, photo_png: bytes, mask_png: bytes) -> None:
    metadata_for(alices_program, photo_png, mask_png, model="tiny-flux-fill")
    before = result()
    named = {"model": "tiny-flux-fill", "ip_adapter": "look", "ip_adapter_scale": "0.5"}
    sent = upload(png(np.ascontiguousarray(data.coffee()[::5, ::5])))
    metadata = metadata_for(alices_program, photo_png, mask_png, **named, ip_adapter_image=sent)
    assert metadata["ip_adapters"] == [{"slug": "look", "scale": 0.5}]
    assert metadata["warnings"] == []
    assert not np.array_equal(result(), before)
    answer = answer_for(alices_program, photo_png, mask_png, **named)
    assert (answer["code"], answer["field"]) == ("ip_adapter_image_missing", "ip_adapter_image")


def test_one_of_kontext_refuses_it(alices_program: Client, photo_png: bytes, mask_png: bytes) -> None:
    answer = answer_for(alices_program, photo_png, mask_png, model="tiny-flux-kontext", ip_adapter="look")
    assert answer["code"] == "adapter_unfit"
    assert "for models of the family flux-dev; tiny-flux-kontext is of flux-kontext" in answer["message"]


@pytest.mark.parametrize(("family", "offered"), [("flux-fill", ["look"]), ("flux-kontext", [])])
def test_the_editor_offers_it_for_the_models_that_take_it(alice: User, family: str, offered: list[str]) -> None:
    InferenceModel.objects.exclude(slug__in=(f"tiny-{family}", "look")).update(enabled=False)
    assert [row.slug for row in Catalog().installed("diffusion")] == [f"tiny-{family}"]
    browser = Client()
    browser.force_login(alice)
    assert browser.get("/").context["plan"]["form"]["adapters"]["ip_adapter"] == offered
