"""Results of the safety checker equal diffusers'; a checker that cannot flag anything is refused."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file
from skimage import data
from transformers import CLIPConfig

from inpainting.catalog.specs import ModelSpec
from inpainting.core.errors import EngineFailed
from inpainting.core.geometry import Box, Size, Window
from inpainting.core.image import CanonicalImage
from inpainting.engines.diffusion.safety_checker import SafetyCheckerCache
from inpainting.engines.diffusion.serving.load_lock import LOAD_LOCK
from inpainting.engines.moderation import apply_safety_checker, checker_cache, padded_to_square
from inpainting.engines.painting import Painting
from tests.support import published_preprocessors as published
from tests.support import tiny_checker, tiny_models

IMAGES = {"astronaut": data.astronaut, "chelsea": data.chelsea, "coffee": data.coffee, "rocket": data.rocket}


def ignore_keepalive() -> None:
    """A keepalive that does nothing."""


@pytest.fixture
def photos() -> dict[str, NDArray[np.uint8]]:
    return {name: load() for name, load in IMAGES.items()}


def spec_of(folder: Path) -> ModelSpec:
    return ModelSpec(slug="safety-checker", label="Safety checker", family="safety-checker", path=folder)


def test_its_results_equal_those_of_diffusers(tmp_path: Path, photos: dict[str, NDArray[np.uint8]]) -> None:
    model = tiny_checker.rigged(photos["astronaut"], photos["chelsea"])
    mine = SafetyCheckerCache().get(spec_of(tiny_checker.saved(tmp_path / "checker", model)), ignore_keepalive)
    theirs = tiny_models.sd(tmp_path / "pipeline")
    theirs.safety_checker, theirs.feature_extractor = model, tiny_checker.processor()
    noise = np.random.default_rng(3).integers(0, 256, (9, 48, 64, 3), np.uint8)
    shown = [*photos.values(), *noise, *(photo[:200, 50:250] for photo in photos.values())]
    expected_flags = []
    for image in shown:
        alone = (image / np.float32(255))[None]
        _, (found,) = theirs.run_safety_checker(alone, "cpu", torch.float32)
        expected_flags.append(bool(found))
    assert mine.check(shown) == expected_flags
    assert expected_flags[:2] == [True, False]
    assert 2 < sum(expected_flags) < len(expected_flags) - 2  # the reference flags some and passes others


def test_special_care_concepts_lower_the_threshold_as_in_diffusers(tmp_path: Path) -> None:
    photo = data.astronaut()
    for is_special_care, expected in ((False, False), (True, True)):
        model = tiny_checker.checker()
        with torch.no_grad():
            model.concept_embeds[3] = tiny_checker.embedding(model, photo)
            model.concept_embeds_weights[3] = 1.005  # within the 0.01 by which special care lowers the threshold
            if is_special_care:
                model.special_care_embeds[1] = model.concept_embeds[3]
                model.special_care_embeds_weights[1] = 0.9
        folder = tiny_checker.saved(tmp_path / str(is_special_care), model)
        assert SafetyCheckerCache().get(spec_of(folder), ignore_keepalive).check([photo]) == [expected]


def test_weights_with_the_original_names_are_loaded(tmp_path: Path, photos: dict[str, NDArray[np.uint8]]) -> None:
    model = tiny_checker.rigged(photos["coffee"], photos["rocket"])
    folder = tiny_checker.saved(tmp_path, model)
    configuration = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**configuration, "architectures": ["SafetyChecker"]}))
    save_file(tiny_checker.as_first_published(model), folder / "model.safetensors", metadata={"format": "pt"})
    assert SafetyCheckerCache().get(spec_of(folder), ignore_keepalive).check([photos["coffee"], photos["rocket"]]) == [
        True,
        False,
    ]


def as_published(folder: Path) -> tuple[StableDiffusionSafetyChecker, Path]:
    """A checker of the published input size, saved with the names, the type and the settings of the published files.

    config.json states the sizes of the network twice, as transformers 4.21 wrote it.
    """
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    words = {"vocab_size": 10, "bos_token_id": 8, "eos_token_id": 9, "pad_token_id": 9}
    vision = {**sizes, "patch_size": 56}
    torch.manual_seed(1)
    model = StableDiffusionSafetyChecker(
        CLIPConfig(projection_dim=16, vision_config=vision, text_config={**sizes, **words})
    ).eval()
    tiny_checker.saved(folder, model)
    published.put_into(folder, "safety-checker")
    configuration = json.loads((folder / "config.json").read_text())
    generation = {"num_beams": 1, "max_length": 20, "do_sample": False, "top_k": 50, "use_bfloat16": False}
    for part, stated in (("text_config", sizes), ("vision_config", vision)):
        configuration[part] = {**configuration[part], **generation, "torch_dtype": None, "pruned_heads": {}}
        configuration[f"{part}_dict"] = stated
    earlier = {"architectures": ["SafetyChecker"], "torch_dtype": "float32", "transformers_version": None}
    (folder / "config.json").write_text(json.dumps({**configuration, **earlier}))
    weights = tiny_checker.as_first_published(model)
    halves = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in weights.items()}
    save_file(halves, folder / "model.safetensors", metadata={"format": "pt"})
    return model, folder


def test_it_is_fed_as_by_diffusers_with_the_published_settings(tmp_path: Path) -> None:
    """CLIP's preprocessing (openai/CLIP, clip.py): the shorter side at 224 pixels, bicubic, the middle, CLIP's
    normalisation; in float32, though the published weights are float16."""
    model, folder = as_published(tmp_path)
    checker = SafetyCheckerCache().get(spec_of(folder), ignore_keepalive)
    assert {tensor.dtype for tensor in checker.model.parameters()} == {torch.float32}
    assert torch.allclose(checker.model.concept_embeds, model.concept_embeds.half().float())
    photo = data.coffee()
    checker.model = published.Recorder()
    inputs = published.fed_by(lambda: checker.check([photo]))
    whole = published.scaled(photo, 336, 224, Image.Resampling.BICUBIC, published.CLIP)
    assert inputs["clip_input"].shape == (1, 3, 224, 224)
    assert np.allclose(inputs["clip_input"][0], whole[:, :, 56:280], atol=1e-5)


def without_a_layer(tensors: dict[str, torch.Tensor]) -> None:
    del tensors["vision_model.encoder.layers.1.mlp.fc1.weight"]


def with_a_hole(tensors: dict[str, torch.Tensor]) -> None:
    tensors["vision_model.encoder.layers.1.mlp.fc1.weight"][0, 0] = float("nan")


def with_an_endless_threshold(tensors: dict[str, torch.Tensor]) -> None:
    tensors["concept_embeds_weights"][2] = float("inf")


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (without_a_layer, "it lacks vision_model.encoder.layers.1.mlp.fc1.weight"),
        (with_a_hole, "numbers that are not finite"),
        (with_an_endless_threshold, "numbers that are not finite"),
    ],
)
def test_a_checker_that_cannot_flag_anything_is_refused(
    tmp_path: Path, spoil: Callable[[dict[str, torch.Tensor]], None], problem: str
) -> None:
    model = tiny_checker.checker()
    folder = tiny_checker.saved(tmp_path, model)
    tensors = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    spoil(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(EngineFailed, match=problem) as refused:
        SafetyCheckerCache().get(spec_of(folder), ignore_keepalive)
    assert refused.value.code == "safety_checker_unavailable"


def test_a_checker_with_uninitialised_weights_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_checker.checker()
    folder = tiny_checker.saved(tmp_path, model)
    loading_info: dict[str, set[str]] = {"missing_keys": set(), "mismatched_keys": set()}
    monkeypatch.setattr(type(model), "from_pretrained", lambda *_, **__: (model.to("meta"), loading_info))
    with pytest.raises(EngineFailed, match="The safety checker cannot be loaded") as refused:
        SafetyCheckerCache().get(spec_of(folder), ignore_keepalive)
    assert refused.value.code == "safety_checker_unavailable"


def test_a_missing_checker_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(EngineFailed, match="pull_model safety-checker") as refused:
        SafetyCheckerCache().get(spec_of(tmp_path / "nothing"), ignore_keepalive)
    assert refused.value.code == "safety_checker_unavailable"


def test_it_is_loaded_once_until_its_files_change(tmp_path: Path, photos: dict[str, NDArray[np.uint8]]) -> None:
    folder = tiny_checker.saved(tmp_path, tiny_checker.rigged(photos["coffee"], photos["rocket"]))
    known = SafetyCheckerCache()
    first = known.get(spec_of(folder), ignore_keepalive)
    assert known.get(spec_of(folder), ignore_keepalive) is first
    tiny_checker.saved(folder, tiny_checker.rigged(photos["rocket"], photos["coffee"]))
    os.utime(folder / "preprocessor_config.json", ns=(1, 1))
    assert known.get(spec_of(folder), ignore_keepalive).check([photos["coffee"], photos["rocket"]]) == [False, True]


def test_waiting_for_the_load_lock_sends_keepalives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another thread holds the load lock for hundreds of seconds of the fake clock."""
    folder = tiny_checker.saved(tmp_path, tiny_checker.checker())
    seconds, called_at = itertools.count(0, 100), []
    with contextlib.ExitStack() as model:
        model.enter_context(LOAD_LOCK)

        def clock() -> int:
            now = next(seconds)
            if now > 1000:
                model.close()  # or the test would wait forever
            return now

        def alive() -> None:
            called_at.append(next(seconds))
            if len(called_at) == 2:
                model.close()

        monkeypatch.setattr("inpainting.keepalive.KEEPALIVE_SECONDS", 0.01)
        monkeypatch.setattr("inpainting.keepalive.time", SimpleNamespace(monotonic=clock))
        SafetyCheckerCache().get(spec_of(folder), alive)
    assert called_at[:2] == [200, 400]


def painting_of(image: NDArray[np.uint8], mask: NDArray[np.uint8]) -> Painting:
    size = Size(image.shape[1], image.shape[0])
    return Painting(
        image=CanonicalImage(image),
        mask=mask,
        window=Window(Box.whole(size), size),
        coverage=0.1,
        seam_score=0.0,
        seam_score_plain=0.0,
        colour_matched=False,
        seam_blended=False,
    )


@pytest.mark.parametrize(("height", "width"), [(20, 400), (400, 20), (30, 30)])
def test_an_image_that_is_not_square_is_checked_completely(height: int, width: int) -> None:
    photo = data.astronaut()[:height, :width]
    shown = padded_to_square(photo)
    assert shown.shape == (max(height, width), max(height, width), 3)
    assert np.array_equal(shown[:height, :width], photo)


def test_only_the_painted_part_of_an_image_is_checked(tmp_path: Path) -> None:
    """A cat is flagged where it was painted, not where the source image shows it."""
    cat, cup = data.chelsea()[:200, 150:350], data.coffee()[:200, 150:350]
    spec = spec_of(tiny_checker.saved(tmp_path, tiny_checker.rigged(cat, cup)))
    image = np.concatenate([cat, np.tile(cup, (1, 4, 1))], axis=1)
    on_cat, on_cup = np.zeros((2, *image.shape[:2]), np.uint8)
    on_cat[50:150, 50:150] = 255
    on_cup[50:150, 850:950] = 255
    checker_cache.cache_clear()
    found = apply_safety_checker(painting_of(image, on_cat), ignore_keepalive, how="black", checker=spec)
    passed = apply_safety_checker(painting_of(image, on_cup), ignore_keepalive, how="black", checker=spec)
    assert (passed.nsfw_content_detected, passed.hidden_by, passed.unhidden) == (False, None, None)
    assert np.array_equal(passed.image.pixels, image)
    assert (found.nsfw_content_detected, found.hidden_by) == (True, "black")
    assert found.unhidden is not None
    assert np.array_equal(found.unhidden.pixels, image)
    assert not found.image.pixels[on_cat > 0].any()
    assert np.array_equal(found.image.pixels[on_cat == 0], image[on_cat == 0])
