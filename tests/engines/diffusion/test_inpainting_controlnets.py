"""A request with an inpainting ControlNet from its plan to its images, for families that were not trained for masks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from inpainting.catalog.specs import ControlImageKind, Kind, ModelSpec
from inpainting.core.compositing import outside_mask_changed_pixels
from inpainting.core.image import CanonicalImage
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.engines.base import Plan
from inpainting.engines.diffusion.declaration import DIFFUSION
from inpainting.engines.diffusion.engine import Diffusion
from inpainting.engines.diffusion.serving.batcher import Batcher
from inpainting.engines.diffusion.serving.model_cache import ModelCache
from inpainting.engines.painting import Painting, paint
from inpainting.engines.plan import EngineChoice, make_settings_plan, plan_images
from tests.engines.diffusion import plain_flow
from tests.engines.diffusion.pipelines import CPU, ignore_step
from tests.support import tiny_adapters, tiny_models
from tests.support.fakes import OneModel

INPAINTING = {
    "flux-dev": ControlImageKind.INPAINT,
    "sd3": ControlImageKind.INPAINT,
    "z-image": ControlImageKind.UNION,
    "qwen-image": ControlImageKind.INPAINT,
}
"""Family -> the kind of its inpainting ControlNet."""


@dataclass
class WithControlNet(OneModel):
    """A catalog of one model and one ControlNet."""

    controlnet: ModelSpec

    def find_adapter(self, name: str, kind: Kind, field: str) -> ModelSpec:
        assert (name, kind) == (self.controlnet.slug, Kind.CONTROLNET)
        return self.controlnet


@pytest.fixture(scope="module", params=INPAINTING)
def catalog(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> WithControlNet:
    folder, family = tmp_path_factory.mktemp("models"), request.param
    model = tiny_models.saved(folder / family, family)
    return WithControlNet(model, tiny_adapters.saved_controlnet(folder / "hole", family, INPAINTING[family]))


@pytest.fixture(scope="module")
def engine() -> Diffusion:
    made = Diffusion()
    made.__dict__["_batcher"] = Batcher(ModelCache(CPU, 10**9), max_rows=4)
    return made


def plan_of(catalog: WithControlNet, image: CanonicalImage, mask: Any, **settings: Any) -> Plan:
    wanted = PaintSettings(**{"prompt": "a red bus", "seed": 5, "steps": 3, **settings})
    sent = InpaintRequest(image, mask, wanted, {"control_image": image})
    resolution = DIFFUSION.resolve(wanted, catalog)
    return plan_images(sent, make_settings_plan(resolution, EngineChoice(DIFFUSION, ""), wanted))


def painted(catalog: WithControlNet, engine: Diffusion, image: CanonicalImage, mask: Any, **settings: Any) -> Painting:
    (painting,) = paint(plan_of(catalog, image, mask, **settings), engine, ignore_step)
    return painting


def test_it_fills_the_hole_by_its_surroundings_and_changes_no_pixel_outside(
    catalog: WithControlNet, engine: Diffusion
) -> None:
    sent = plain_flow.request()
    control = {"control": catalog.controlnet.slug, "control_type": "inpaint"}
    painting = painted(catalog, engine, sent.image, sent.mask, **control)
    assert outside_mask_changed_pixels(sent.image, painting.image, painting.mask) == 0
    inside = sent.mask > 0
    found = np.asarray(painting.image.pixels)[inside]
    # What was in the hole does not matter, and without the ControlNet it is filled otherwise.
    erased = np.array(sent.image.pixels, np.uint8)
    erased[inside] = 0
    same = painted(catalog, engine, CanonicalImage(erased), sent.mask, **control)
    assert np.abs(found.astype(int) - np.asarray(same.image.pixels)[inside]).max() <= 1
    alone = painted(catalog, engine, sent.image, sent.mask, strength=1.0)
    assert np.abs(found.astype(int) - np.asarray(alone.image.pixels)[inside]).max() > 1


def test_its_plan_starts_from_noise_and_lists_what_it_does_not_read(catalog: WithControlNet) -> None:
    sent, slug = plain_flow.request(), catalog.controlnet.slug
    filling = plan_of(catalog, sent.image, sent.mask, control=slug, control_type="inpaint", use_karras_sigmas=True)
    assert filling.settings.strength == 1
    assert f"control_image was not read: the input of {slug} is computed from the image." in filling.warnings
    assert "use_karras_sigmas" in filling.ignored
    for changes in ({}, {"control": slug, "control_type": "inpaint", "control_strength": 0.0}):
        assert plan_of(catalog, sent.image, sent.mask, **changes).settings.strength == 0.75
    asked = {"control": slug, "control_type": "inpaint", "strength": 0.5}
    assert plan_of(catalog, sent.image, sent.mask, **asked).settings.strength == 0.5
