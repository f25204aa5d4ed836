"""Models and LoRAs of few steps are known by the names of the published files, and sampled as those were trained."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from inpainting.catalog.inspection.few_step_models import few_step_checkpoint, few_step_lora
from inpainting.catalog.specs import FEW_STEPS, FewSteps, LoraKind, LoraSpec, ModelSpec, few_steps_of
from inpainting.core.request import LoraUse, PaintSettings
from inpainting.engines.diffusion.declaration import resolve
from tests.support.hub import checkpoint

TURBO, LIGHTNING, HYPER = (FEW_STEPS[kind] for kind in (LoraKind.TURBO, LoraKind.LIGHTNING, LoraKind.HYPER))
FLOW_EULER = "FlowMatchEulerDiscreteScheduler"


@pytest.mark.parametrize(
    ("name", "kind", "steps"),
    [
        ("sdxl_lightning_4step_lora", "lightning", 4),
        ("Qwen-Image-Lightning-8steps-V1.1-bf16", "lightning", 8),
        ("Qwen-Image-Edit-2509-Lightning-4steps-V1.0-bf16", "lightning", 4),
        ("Hyper-SDXL-8steps-lora", "hyper", 8),
        ("Hyper-FLUX.1-dev-8steps-lora", "hyper", 8),
        ("Hyper-FLUX.1-dev-16steps-lora", "hyper", 16),
        ("models/alimama-creative/FLUX.1-Turbo-Alpha", "turbo", None),
        ("dmd2_sdxl_4step_lora_fp16", "dmd2", 4),
        ("pcm_sdxl_smallcfg_16step_converted", "pcm", 16),
        ("pcm_sd15_lcmlike_lora_converted", "lcm", None),
        ("TCD-SDXL-LoRA", "tcd", None),
        ("Hyper-SDXL-1step-lora", "style", None),
        ("pcm_sdxl_normalcfg_4step_converted", "style", 4),
        ("Hyper-SDXL-8steps-CFG-lora", "style", 8),
        ("turbo_porsche_911", "style", None),
        ("lightning storm", "style", None),
    ],
)
def test_published_loras_are_known_by_their_names(name: str, kind: str, steps: int | None) -> None:
    found = few_step_lora(name)
    assert found[0] == kind
    if kind != "style":
        assert found[1] == steps


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sd_xl_turbo_1.0_fp16", TURBO),
        ("sd_turbo", TURBO),
        ("dreamshaperXL_v21TurboDPMSDE", TURBO),
        ("sdxl_lightning_8step", FewSteps(8, 1.0, LIGHTNING.scheduler, is_trailing=True)),
        ("Juggernaut_RunDiffusionPhoto2_Lightning_4Steps", LIGHTNING),
        ("realvisxlV40_v40LightningBakedvae", LIGHTNING),
        ("realisticVisionV60B1_v51HyperVAE", HYPER),
        ("epicrealismXL_vxviLastfameHyper", HYPER),
        ("dreamshaper_8LCM", FEW_STEPS[LoraKind.LCM]),
        ("lustifySDXLNSFW_v20-dmd2", FEW_STEPS[LoraKind.DMD2]),
        ("sdxl_lightning_1step_x0", None),
        ("Hyper-SDXL-1step-Unet-Comfyui.fp16", None),
        ("hyperrealism_v12", None),
        ("sd_xl_base_1.0", None),
        ("dreamshaper_8", None),
    ],
)
def test_published_checkpoints_are_known_by_their_names(tmp_path: Path, name: str, expected: FewSteps | None) -> None:
    path = tmp_path / f"{name}.safetensors"
    path.write_bytes(checkpoint())
    assert few_step_checkpoint(path, "sdxl") == few_step_checkpoint(path, "sd") == expected
    assert few_step_checkpoint(path, "lama") is None


@pytest.mark.parametrize("key", ["modelspec.title", "ss_output_name"])
def test_a_checkpoint_that_was_renamed_is_known_by_the_title_that_it_notes(tmp_path: Path, key: str) -> None:
    data, path = checkpoint(), tmp_path / "mine.safetensors"
    length = int.from_bytes(data[:8], "little")
    header = {**json.loads(data[8 : 8 + length]), "__metadata__": {key: "SDXL Lightning 4 step"}}
    encoded = json.dumps(header).encode()
    path.write_bytes(len(encoded).to_bytes(8, "little") + encoded + data[8 + length :])
    assert few_step_checkpoint(path, "sdxl") == LIGHTNING
    path.write_bytes(data)
    assert few_step_checkpoint(path, "sdxl") is None


def test_each_kind_has_the_settings_of_its_card_in_the_families_that_have_it() -> None:
    kinds = {
        family: {kind.value for kind in LoraKind if few_steps_of(kind, family)}
        for family in ("sd", "sdxl", "flux-dev", "flux-fill", "qwen-image", "z-image")
    }
    every = {"lcm", "lightning", "hyper", "turbo", "dmd2", "pcm", "tcd"}
    flux = {"hyper", "turbo"}
    flow = {"flux-dev": flux, "flux-fill": flux, "qwen-image": {"lightning"}, "z-image": set()}
    assert kinds == {"sd": every, "sdxl": every, **flow}
    assert few_steps_of(LoraKind.TURBO, "flux-fill") == FewSteps(8, None, FLOW_EULER, is_trailing=False)
    assert few_steps_of(LoraKind.LIGHTNING, "qwen-image") == FewSteps(
        8, 1.0, FLOW_EULER, is_trailing=False, flow_shift=3.0
    )
    assert FEW_STEPS[LoraKind.DMD2] == FewSteps(4, 1.0, "LCMScheduler", is_trailing=False)
    assert FewSteps(4, 1.0, "EulerAncestralDiscreteScheduler", is_trailing=True) == TURBO


def test_the_guidance_of_a_model_stays_where_a_lora_was_trained_with_any() -> None:
    model = ModelSpec("fill", "Fill", "flux-fill", steps=50, guidance_scale=30.0, scheduler=FLOW_EULER)
    lora = LoraSpec("turbo", "Turbo", "flux-fill", kind=LoraKind.TURBO)
    catalog: Any = SimpleNamespace(find=lambda *_: model, find_lora=lambda *_: lora, find_preprocessor=lambda _: ())
    settings = resolve(PaintSettings(prompt="a lawn", loras=(LoraUse("turbo"),)), catalog).settings
    assert (settings.steps, settings.guidance_scale, settings.scheduler) == (8, 30.0, FLOW_EULER)


def test_the_noise_levels_of_qwen_image_lightning_are_shifted_by_three_at_every_size() -> None:
    pytest.importorskip("torch", reason="diffusion is not installed")
    from inpainting.engines.diffusion.sampling import flow_schedulers

    model = ModelSpec("qwen", "Qwen", "qwen-image", steps=4, guidance_scale=1.0, scheduler=FLOW_EULER)
    own = {"use_dynamic_shifting": True, "max_shift": 0.9, "max_image_seq_len": 8192, "shift_terminal": 0.02}
    for size in ((64, 64), (160, 128)):
        config = {**own, **flow_schedulers.fixed_shift(3.0)}
        schedule, _ = flow_schedulers.schedule(PaintSettings(strength=1.0), model, config, size)
        expected = [1000 * 3 * level / (1 + 2 * level) for level in (1.0, 0.75, 0.5, 0.25)]
        assert schedule.timesteps.tolist() == pytest.approx(expected, rel=1e-4)
