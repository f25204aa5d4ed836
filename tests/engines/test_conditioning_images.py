"""Control images and image prompts: cropped, passed on, required, or ignored with a warning."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data

from inpainting.catalog.specs import ControlImageKind, Kind, ModelSpec
from inpainting.core.errors import InvalidRequest
from inpainting.core.geometry import WindowRule
from inpainting.core.image import CanonicalImage
from inpainting.core.request import ControlUse, InpaintRequest, PaintSettings
from inpainting.core.settings_table import INSERT_SETTINGS
from inpainting.engines.base import OnStep, Plan
from inpainting.engines.conditioning_images import ignored_images, images_to_compute
from inpainting.engines.painting import paint
from tests.support.fakes import PlainEngine, declared, planned, settings_planned


@dataclass
class Guided(PlainEngine):
    """Returns its input and records the request."""

    guide: ControlImageKind = ControlImageKind.DEPTH
    ignored: frozenset[str] = frozenset()
    rule: WindowRule = field(default_factory=lambda: WindowRule(0.5, min_context=4))
    seen: list[InpaintRequest] = field(default_factory=list)

    def __post_init__(self) -> None:
        kind, family = Kind.CONTROLNET, "sd"
        control = ModelSpec(slug="lines", label="Lines", family=family, kind=kind, control=self.guide)
        self.declaration = declared(ignored=self.ignored, rule=self.rule, adapters=(control,))

    def inpaint(self, plan: Plan, on_step: OnStep) -> list[NDArray[np.uint8]]:
        self.seen.append(plan.request)
        return [np.array(plan.request.image.pixels, np.uint8)]


PHOTO = CanonicalImage(data.astronaut()[:90, :120])
REFERENCE = CanonicalImage(data.chelsea()[:50, :70])


def scene(
    *, guide: CanonicalImage | None = None, look: CanonicalImage | None = None, **settings: Any
) -> InpaintRequest:
    mask = np.zeros((90, 120), np.uint8)
    mask[40:50, 50:70] = 255
    images = {"control_image": guide, "ip_adapter_image": look}
    sent = {name: image for name, image in images.items() if image is not None}
    return InpaintRequest(PHOTO, mask, PaintSettings(**settings), sent)


def done(request: InpaintRequest, engine: Guided) -> tuple[InpaintRequest, tuple[str, ...]]:
    """The request that reached the engine, and the warnings."""
    plan = planned(request, engine)
    paint(plan, engine, lambda step: None)
    return engine.seen[-1], plan.warnings


def test_the_control_image_is_cropped_to_the_window() -> None:
    request = scene(guide=PHOTO, control="lines")
    for rule in (WindowRule(0.5, min_context=4), WindowRule(0.5, min_side=128, max_side=128, multiple=64)):
        seen, warnings = done(request, Guided(rule=rule))
        assert seen.conditioning_images["control_image"].equals(seen.image)
        assert warnings == ()
    assert seen.image.size.width == 128
    other = done(scene(guide=CanonicalImage(255 - PHOTO.pixels), control="lines"), Guided())[0].conditioning_images.get(
        "control_image"
    )
    assert other is not None
    assert np.array_equal(other.pixels, 255 - done(request, Guided())[0].image.pixels)


def test_an_engine_that_inserts_nothing_does_not_get_the_image_to_insert() -> None:
    request = replace(scene(), conditioning_images={"insert_image": REFERENCE})
    seen, warnings = done(request, Guided(ignored=INSERT_SETTINGS))
    assert seen.conditioning_images == {}
    assert [warning for warning in warnings if "paints without an image to insert." in warning]
    assert planned(request, Guided(ignored=INSERT_SETTINGS)).ignored.keys() >= INSERT_SETTINGS


def test_the_image_prompt_is_passed_uncropped() -> None:
    seen, warnings = done(scene(look=REFERENCE, ip_adapter="adapter"), Guided())
    assert seen.conditioning_images.get("ip_adapter_image") is REFERENCE
    assert seen.conditioning_images.get("control_image") is None
    assert warnings == ()


@pytest.mark.parametrize("guide", [ControlImageKind.DEPTH, ControlImageKind.SCRIBBLE])
def test_a_control_image_that_cannot_be_computed_must_be_sent(guide: ControlImageKind) -> None:
    with pytest.raises(InvalidRequest) as caught:
        done(scene(control="lines"), Guided(guide))
    assert (caught.value.code, caught.value.field) == ("control_image_missing", "control_image")
    assert "lines" in caught.value.message


@pytest.mark.parametrize("guide", [ControlImageKind.INPAINT, ControlImageKind.CANNY, ControlImageKind.TILE])
def test_a_computed_control_image_need_not_be_sent(guide: ControlImageKind) -> None:
    seen, warnings = done(scene(control="lines"), Guided(guide))
    assert (seen.conditioning_images.get("control_image"), warnings) == (None, ())


def test_an_ip_adapter_needs_an_image_prompt() -> None:
    with pytest.raises(InvalidRequest) as caught:
        done(scene(ip_adapter="adapter"), Guided())
    assert (caught.value.code, caught.value.field) == ("ip_adapter_image_missing", "ip_adapter_image")


@pytest.mark.parametrize(
    ("request_", "engine", "message"),
    [
        (scene(guide=PHOTO), Guided(), "control_image was not read: the request names no control."),
        (
            scene(guide=PHOTO, control="lines"),
            Guided(ControlImageKind.CANNY),
            "the input of lines is computed from the image.",
        ),
        (scene(guide=PHOTO, control="lines"), Guided(ignored=frozenset({"control"})), "paints without a control."),
        (scene(look=REFERENCE), Guided(), "ip_adapter_image was not read: the request names no ip_adapter."),
        (scene(look=REFERENCE, ip_adapter="a"), Guided(ignored=frozenset({"ip_adapter"})), "without an IP-Adapter."),
    ],
)
def test_an_unread_image_does_not_reach_the_engine_and_gives_a_warning(
    request_: InpaintRequest, engine: Guided, message: str
) -> None:
    seen, warnings = done(request_, engine)
    assert (seen.conditioning_images.get("control_image"), seen.conditioning_images.get("ip_adapter_image")) == (
        None,
        None,
    )
    assert len(warnings) == 1
    assert warnings[0].endswith(message)


def test_an_engine_without_controlnet_support_requires_no_control_image() -> None:
    unread = frozenset({"control", "ip_adapter"})
    assert done(scene(control="lines", ip_adapter="adapter"), Guided(ignored=unread))[1] == ()


def test_tile_uses_a_control_image_if_one_is_sent() -> None:
    seen, warnings = done(scene(guide=PHOTO, control="lines"), Guided(ControlImageKind.TILE))
    assert seen.conditioning_images.get("control_image") is not None
    assert warnings == ()


def test_controlnets_that_need_images_of_different_kinds_are_refused() -> None:
    engine = Guided()
    pose = ModelSpec(slug="pose", label="Pose", family="sd", kind=Kind.CONTROLNET, control=ControlImageKind.OPENPOSE)
    edges = replace(pose, slug="edges", control=ControlImageKind.CANNY)
    (lines,) = engine.declaration.resolve(PaintSettings(), None).adapters  # type: ignore[arg-type]  # not read
    engine.declaration = declared(rule=engine.rule, adapters=(lines, pose, edges))
    images = {"control_image": PHOTO, "control_image_2": CanonicalImage(255 - PHOTO.pixels)}
    own = InpaintRequest(PHOTO, scene().mask, conditioning_images=images)
    both = replace(own, settings=PaintSettings(controls=(ControlUse("lines"), ControlUse("pose"))))
    seen, notes = done(both, engine)
    assert np.array_equal(seen.conditioning_images["control_image_2"].pixels, 255 - seen.image.pixels)
    assert not notes
    uses = {use.slug: use for use in (ControlUse("lines"), ControlUse("pose"), ControlUse("edges"))}
    with pytest.raises(InvalidRequest, match="lines and pose need control images of different kinds") as refused:
        done(scene(guide=PHOTO, controls=(uses["lines"], uses["pose"])), engine)
    assert refused.value.field == "controls"
    request, warnings = done(scene(guide=PHOTO, controls=(uses["edges"], uses["pose"])), engine)
    assert request.conditioning_images.get("control_image") is not None
    assert not warnings
    with pytest.raises(InvalidRequest, match="pose is guided by a skeleton") as refused:
        done(scene(controls=(uses["edges"], uses["pose"])), engine)
    assert refused.value.code == "control_image_missing"


def test_the_images_that_a_preprocessor_computes_are_those_that_no_other_serves() -> None:
    depth = ModelSpec(slug="depth", label="Depth", family="sd", kind=Kind.CONTROLNET, control=ControlImageKind.DEPTH)
    near, pose = replace(depth, slug="near"), replace(depth, slug="pose", control=ControlImageKind.OPENPOSE)
    tile, edges = (
        replace(depth, slug="tile", control=ControlImageKind.TILE),
        replace(depth, slug="edges", control=ControlImageKind.CANNY),
    )
    estimator = ModelSpec(slug="estimator", label="Estimator", family="depth-anything")
    engine = Guided()
    engine.declaration = declared(
        adapters=(depth, near, pose, tile, edges), preprocessors={ControlImageKind.DEPTH: (estimator,)}
    )

    def computed(*slugs: str, sent: Collection[str] = ()) -> list[str]:
        settings = PaintSettings(controls=tuple(ControlUse(slug) for slug in slugs))
        plan = settings_planned(settings, engine)
        images = list(images_to_compute(plan, sent))
        assert not ignored_images(plan, sent).keys() & {*sent, *images}
        return images

    assert computed("depth") == ["control_image"]
    assert computed("depth", sent=["control_image"]) == []
    assert computed("depth", "near") == ["control_image"], "they share it"
    assert computed("depth", "near", sent=["control_image_2"]) == ["control_image"]
    assert computed("pose", "depth", sent=["control_image"]) == ["control_image_2"]
    assert computed("edges", "depth", sent=["control_image"]) == [], "it is the depth map"
    assert computed("tile", "depth", sent=["control_image"]) == []
    assert computed("edges", "depth") == ["control_image_2"]
    assert computed("depth", "pose", sent=["control_image_2"]) == ["control_image"]
    with pytest.raises(InvalidRequest, match="pose is guided by a skeleton"):
        computed("pose", "depth")


def test_a_controlnet_of_strength_0_needs_no_control_image_and_has_none_computed() -> None:
    depth = ModelSpec(slug="depth", label="Depth", family="sd", kind=Kind.CONTROLNET, control=ControlImageKind.DEPTH)
    near, edges = replace(depth, slug="near"), replace(depth, slug="edges", control=ControlImageKind.CANNY)
    estimator = ModelSpec(slug="estimator", label="Estimator", family="depth-anything")
    engine, without = Guided(), Guided()
    engine.declaration = declared(adapters=(depth, near, edges), preprocessors={ControlImageKind.DEPTH: (estimator,)})
    without.declaration = declared(adapters=(depth, near, edges))

    def uses(**strengths: float) -> PaintSettings:
        return PaintSettings(controls=tuple(ControlUse(slug, strength) for slug, strength in strengths.items()))

    assert not images_to_compute(settings_planned(uses(depth=0), engine), [])
    assert list(images_to_compute(settings_planned(uses(depth=0, near=1), engine), [])) == ["control_image_2"]
    assert list(images_to_compute(settings_planned(uses(depth=1, near=0), engine), [])) == ["control_image"]
    unread = ignored_images(settings_planned(uses(depth=0, edges=1), without), ["control_image", "control_image_2"])
    assert unread["control_image"] == "the strength of depth is 0"
    assert unread["control_image_2"] == "the input of edges is computed from the image"
    with pytest.raises(InvalidRequest, match="near is guided by a depth map"):
        ignored_images(settings_planned(uses(depth=0, near=1), without), [])
