"""`add_model --scan` over the models folders of other programs."""

from __future__ import annotations

import json
import shlex
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.management import CommandError, call_command
from safetensors.numpy import save_file

from inpainting.models import InferenceModel, Lora
from tests.support.hub import checkpoint, tiny_model, weights, written


@pytest.fixture
def folder(tmp_path: Path, settings: Any) -> Path:
    """Files as A1111, ComfyUI and InvokeAI keep them, with some that cannot be added."""
    settings.MODELS_DIR = tmp_path / "models"
    place = tmp_path / "webui"
    contents: dict[str, bytes] = {
        "Stable-diffusion/My Style (v1.5).safetensors": checkpoint(),
        "Stable-diffusion/old.ckpt": b"\x80\x02.",
        "Stable-diffusion/cosxl.safetensors": checkpoint(
            more="conditioner.x", further={"edm_vpred.sigma_max": ("F32", [1])}
        ),
        "unet/flux1.safetensors": weights(name="double_blocks.0.img_attn.qkv.weight"),
        "upscale/4x.safetensors": weights(name="conv_first.weight", kilobytes=32 * 1024),
        "broken.safetensors": b"\xff" * 64,
        "unet/flux1-Q4_K_S.gguf": b"GGUF",
        **{f"diffusers/sd-inpaint/{name}": content for name, content in tiny_model().items()},
        "diffusers/sd-inpaint/unet/diffusion_pytorch_model.bin": b"\x80\x02.",
        "controlnet/control_canny/config.json": json.dumps(
            {"_class_name": "ControlNetModel", "cross_attention_dim": 768}
        ).encode(),
        "controlnet/control_canny/diffusion_pytorch_model.safetensors": weights(),
        "vae/ft-mse.safetensors": weights(name="first_stage_model.decoder.conv_in.weight"),
        "vae/any/config.json": b'{"_class_name": "AutoencoderKL"}',
        "vae/any/diffusion_pytorch_model.safetensors": weights(),
    }
    written(contents, place)
    layer = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
    lora = {f"{layer}.lora_down.weight": np.ones((4, 768)), f"{layer}.lora_up.weight": np.ones((8, 4))}
    hints = {"input_hint_block.0.weight": np.ones(1), "input_blocks.1.1.attn2.to_k.weight": np.ones((2, 768))}
    embedding = {"emb_params": np.ones((2, 768))}
    files: dict[str, dict[str, Any]] = {
        "Lora/Hats": lora,
        "embeddings/cat": embedding,
        "controlnet/v11p_sd15_scribble": hints,
        "controlnet/promax": {
            "task_embedding": np.ones((8, 320)),
            "controlnet_cond_embedding.conv_in.weight": np.ones(1),
            "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.weight": np.ones((2, 2048)),
        },
        "controlnet/no_modes": {"task_embedding": np.ones(()), "controlnet_cond_embedding.conv_in.weight": np.ones(())},
        "clip/clip_g": {"text_model.final_layer_norm.weight": np.ones(1280)},
        "clip/clip_l": {"text_model.final_layer_norm.weight": np.ones(768)},
        "clip/t5": {"encoder.final_layer_norm.weight": np.ones(())},
        "vae/no_shape": {"decoder.conv_in.weight": np.ones(())},
        "vae/ae": {"decoder.conv_in.weight": np.ones((2, 16, 1, 1))},
    }
    for name, tensors in files.items():
        path = place / f"{name}.safetensors"
        path.parent.mkdir(exist_ok=True)
        save_file({key: value.astype(np.float32) for key, value in tensors.items()}, path)
    (place / "outside.safetensors").symlink_to(tmp_path / "elsewhere.safetensors")
    (tmp_path / "elsewhere.safetensors").write_bytes(checkpoint())
    return place


def scan(*arguments: str) -> dict[str, str]:
    """The lines of the output: path -> what is said of it; those without a path under ""."""
    output = StringIO()
    call_command("add_model", "--scan", *arguments, stdout=output)
    lines = [line.strip() for line in output.getvalue().splitlines()]
    listed = [line.partition("  ")[2].partition(": ") for line in lines if line.startswith(("new", "here", "left"))]
    return {path: said for path, _, said in listed} | {"": lines[-1]}


def test_a_scan_names_each_file_and_adds_nothing(folder: Path, db: None) -> None:
    before = InferenceModel.objects.count()
    found = scan(str(folder))
    assert found["Lora/Hats.safetensors"] == "lora sd, hats"
    assert found["Stable-diffusion/My Style (v1.5).safetensors"] == "checkpoint sd, my-style-v1.5"
    assert found["diffusers/sd-inpaint"] == "checkpoint sd, sd-inpaint"
    assert found["controlnet/control_canny"] == "controlnet canny for sd, control_canny"
    assert found["embeddings/cat.safetensors"] == "embedding sd, cat"
    assert found["controlnet/v11p_sd15_scribble.safetensors"] == "controlnet scribble for sd, v11p_sd15_scribble"
    assert found["controlnet/promax.safetensors"] == "controlnet union for sdxl, promax"
    for name in ("any", "ft-mse.safetensors", "no_shape.safetensors"):  # beside models of one family
        assert found[f"vae/{name}"] == f"vae sd, {name.partition('.')[0]}"
    assert found[""].startswith("10 to add")
    assert InferenceModel.objects.count() == before
    assert not Lora.objects.exists()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Stable-diffusion/old.ckpt", "may hold a pickle"),
        ("Stable-diffusion/cosxl.safetensors", "no scheduler here supports"),
        ("unet/flux1.safetensors", "transformer of FLUX"),
        ("upscale/4x.safetensors", "holds “conv_first.weight”"),
        ("unet/flux1-Q4_K_S.gguf", "Its header does not fit"),
        ("broken.safetensors", "its header does not fit"),
        (
            "vae/ae.safetensors",
            "families chroma and flux-dev and flux-fill and flux-kontext and sd3 and z-image. Type “python manage.py ",
        ),
        ("controlnet/no_modes.safetensors", "no ControlNet of a published shape"),
        ("clip/clip_g.safetensors", "It is CLIP-G, a text encoder of Stable Diffusion 3"),
        ("clip/clip_l.safetensors", "It is CLIP-L, a text encoder of FLUX.1"),
        ("clip/t5.safetensors", "encoder.final_layer_norm.weight"),
        ("outside.safetensors", "a link that leads out"),
    ],
)
def test_what_is_left_is_named_with_the_reason(folder: Path, db: None, name: str, reason: str) -> None:
    assert reason in scan(str(folder))[name]


def test_the_commands_for_what_is_left_can_be_typed_as_they_are(folder: Path, db: None) -> None:
    place = folder / "my nets"
    tensors = {"input_hint_block.0.weight": np.ones(1), "input_blocks.1.1.attn2.to_k.weight": np.ones((2, 768))}
    layer = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_k"
    lora = {f"{layer}.lora_down.weight": np.ones((4, 9)), f"{layer}.lora_up.weight": np.ones((8, 4))}
    place.mkdir()
    for name, values in (("plain net", tensors), ("a hat", lora)):
        save_file({key: value.astype(np.float32) for key, value in values.items()}, place / f"{name}.safetensors")
    found = scan(str(folder))
    control = found["my nets/plain net.safetensors"]
    assert "does not tell the kind of control image. Type" in control
    for reason, command in (
        (control, ["add_model", "plain-net", "--family", "sd", "--kind", "controlnet", "--control", "KIND"]),
        (found["my nets/a hat.safetensors"], ["add_lora", "a-hat", "--family", "sd"]),
    ):
        typed = shlex.split(reason.partition("“")[2].partition("”")[0])
        assert typed[:-1] == ["python", "manage.py", *command, "--from"]
        assert Path(typed[-1]).is_file()


@pytest.mark.parametrize("is_copied", [False, True])
def test_what_a_scan_finds_is_added_without_using_more_of_the_disk(folder: Path, db: None, is_copied: bool) -> None:
    scan(str(folder), "--add", *(["--copy"] if is_copied else []))
    model = InferenceModel.objects.get(slug="my-style-v1.5")
    assert model.is_installed
    assert model.weights is not None
    original = folder / "Stable-diffusion/My Style (v1.5).safetensors"
    assert model.weights.samefile(original) is not is_copied
    lora = Lora.objects.get(slug="hats")
    assert lora.path.samefile(folder / "Lora/Hats.safetensors") is not is_copied
    pipeline = InferenceModel.objects.get(slug="sd-inpaint")
    assert pipeline.is_installed
    assert not list(pipeline.folder.rglob("*.bin")), "a pickle was added"
    assert InferenceModel.objects.get(slug="control_canny").control == "canny"
    assert scan(str(folder))[""] == "0 to add."


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mine", "--scan", "."], "leave out slug"),
        (["--add"], "go with --scan"),
        (["mine", "--family", "sd"], "--from are needed"),
        (["--scan", "/nowhere"], "no folder /nowhere"),
    ],
)
def test_arguments_that_do_not_go_together_are_refused(db: None, arguments: list[str], message: str) -> None:
    with pytest.raises(CommandError, match=message):
        call_command("add_model", *arguments)


@pytest.mark.parametrize(
    ("path", "kind", "steps"),
    [
        ("LCM_LoRA_SD15", "lcm", None),
        ("models--latent-consistency--lcm-lora-sdv1-5/snapshots/0/pytorch_lora_weights", "lcm", None),
        ("sd_lightning_8step_lora", "lightning", 8),
        ("Hyper-SD15-4steps-lora", "hyper", 4),
        ("Hyper-SD15-12steps-CFG-lora", "style", None),
        ("lightning-storm", "style", None),
        ("falcm lora", "style", None),
        ("hyperrealism_v2 step 8", "style", None),
    ],
)
def test_a_lora_with_the_name_of_a_published_one_gets_its_few_steps(
    tmp_path: Path, db: None, path: str, kind: str, steps: int | None
) -> None:
    layer = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
    tensors = {f"{layer}.lora_down.weight": np.ones((4, 768)), f"{layer}.lora_up.weight": np.ones((8, 4))}
    place = tmp_path / "loras" / f"{path}.safetensors"
    place.parent.mkdir(parents=True)
    save_file({key: value.astype(np.float32) for key, value in tensors.items()}, place)
    said = scan(str(tmp_path / "loras"), "--add")[f"{path}.safetensors"]
    lora = Lora.objects.get()
    assert (lora.kind, lora.steps) == (kind, steps)
    assert (f" {kind}" in said.partition(",")[0]) == (kind != "style")


def test_what_is_in_the_catalog_is_known_by_its_weights_and_not_by_its_name(
    tmp_path: Path, settings: Any, db: None
) -> None:
    settings.MODELS_DIR = tmp_path / "models"
    place, layer = tmp_path / "webui", "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"

    def save(folder: str, value: float) -> None:
        (place / folder).mkdir(parents=True)
        tensors = {f"{layer}.lora_down.weight": np.full((4, 768), value), f"{layer}.lora_up.weight": np.ones((8, 4))}
        save_file(
            {key: tensor.astype(np.float32) for key, tensor in tensors.items()}, place / folder / "hat.safetensors"
        )
        (place / folder / "style.safetensors").write_bytes(checkpoint(features=768 if value == 1 else 1024))

    save("b", 1)
    scan(str(place), "--add", "--copy")
    save("a", 2)
    (place / "b").rename(place / "z")
    said = scan(str(place))
    assert said["z/hat.safetensors"] == "lora sd, hat"
    assert said["z/style.safetensors"] == "checkpoint sd, style"
    assert said["a/hat.safetensors"] == "lora sd, hat-2"
    assert said["a/style.safetensors"] == "checkpoint sd, style-2"
    assert said[""].startswith("2 to add")
