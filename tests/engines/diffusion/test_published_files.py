"""Files as publishers saved them: today's libraries save tiny models with other tensor names and configurations."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import Qwen2_5_VLConfig, Qwen3Config

from inpainting.engines.diffusion.serving.loading.model_loading import load
from tests.engines.diffusion.pipelines import CPU
from tests.support import tiny_models

POSITIONS = "text_model.embeddings.position_ids"
VAE_LAYERS = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
"""Of the attention of a VAE, by their names today and in the published VAEs of Stable Diffusion."""
QWEN3 = {
    "architectures": ["Qwen3ForCausalLM"],
    "head_dim": 128,
    "hidden_size": 2560,
    "model_type": "qwen3",
    "num_attention_heads": 32,
    "num_hidden_layers": 36,
    "num_key_value_heads": 8,
    "rms_norm_eps": 1e-06,
    "rope_scaling": None,
    "rope_theta": 1000000,
    "sliding_window": None,
    "use_sliding_window": False,
    "vocab_size": 151936,
}
"""text_encoder/config.json of Tongyi-MAI/Z-Image-Turbo on huggingface.co."""
QWEN25_VL = {
    "architectures": ["Qwen2_5_VLForConditionalGeneration"],
    "hidden_size": 3584,
    "model_type": "qwen2_5_vl",
    "num_attention_heads": 28,
    "num_hidden_layers": 28,
    "num_key_value_heads": 4,
    "rms_norm_eps": 1e-06,
    "rope_scaling": {"mrope_section": [16, 24, 24], "rope_type": "default", "type": "default"},
    "rope_theta": 1000000.0,
    "sliding_window": 32768,
    "use_sliding_window": False,
    "vocab_size": 152064,
}
"""text_encoder/config.json of Qwen/Qwen-Image on huggingface.co, which repeats these values as its `text_config`."""


def in_text_model(name: str) -> str:
    return f"text_model.{name}"


def in_model(name: str) -> str:
    return f"model.{name}"


def of_qwen(name: str) -> str:
    return name.replace("model.language_model.", "model.", 1).replace("model.visual.", "visual.", 1)


def of_old_attention(name: str) -> str:
    for today, before in VAE_LAYERS.items() if ".attentions." in name else ():
        name = name.replace(f".{today}.", f".{before}.")
    return name


@pytest.mark.parametrize(
    ("family", "part", "published", "example"),
    [
        ("sd", "text_encoder", in_text_model, "text_model.encoder.layers.0.self_attn.q_proj.weight"),
        ("sd", "vae", of_old_attention, "decoder.mid_block.attentions.0.query.weight"),
        ("sdxl", "text_encoder", in_text_model, "text_model.encoder.layers.0.self_attn.q_proj.weight"),
        ("flux-fill", "text_encoder", in_text_model, "text_model.encoder.layers.0.self_attn.q_proj.weight"),
        ("z-image", "text_encoder", in_model, "model.layers.0.self_attn.q_proj.weight"),
        ("qwen-image", "text_encoder", of_qwen, "visual.blocks.0.attn.qkv.weight"),
        ("qwen-image", "text_encoder", of_qwen, "model.layers.0.self_attn.q_proj.weight"),
    ],
)
def test_weights_with_their_published_names_are_the_same_weights(
    tmp_path: Path, family: str, part: str, published: Callable[[str], str], example: str
) -> None:
    """Names as in the files and lists of shards of the shipped models on huggingface.co."""
    spec = tiny_models.saved(tmp_path / "model", family)
    expected = getattr(load(spec, CPU).pipeline, part).state_dict()
    (path,) = (tmp_path / "model" / part).glob("*.safetensors")
    tensors = {published(name): tensor.clone() for name, tensor in load_file(path).items()}
    assert example in tensors
    if published is in_text_model:
        tensors[POSITIONS] = torch.arange(77)[None]
    save_file(tensors, path, metadata={"format": "pt"})
    model = load(spec, CPU)
    found = getattr(model.pipeline, part).state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    assert model.notes == []


@pytest.mark.parametrize(
    ("config_class", "published", "sections"),
    [
        (Qwen3Config, QWEN3, None),
        (Qwen2_5_VLConfig, QWEN25_VL, [16, 24, 24]),
        (Qwen2_5_VLConfig, {**QWEN25_VL, "text_config": {**QWEN25_VL, "model_type": "qwen2_5_vl_text"}}, [16, 24, 24]),
    ],
)
def test_the_published_configuration_of_a_text_encoder_gives_its_rotary_embedding(
    tmp_path: Path, config_class: Any, published: dict[str, Any], sections: list[int] | None
) -> None:
    """They were saved before transformers 5, which would use another base if it did not find the published one."""
    (tmp_path / "config.json").write_text(json.dumps(published))
    config = config_class.from_pretrained(tmp_path).get_text_config()
    assert config.rope_parameters["rope_theta"] == 1_000_000
    assert config.rope_parameters.get("mrope_section") == sections
    sizes = ("hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "vocab_size")
    assert {name: getattr(config, name) for name in sizes} == {name: published[name] for name in sizes}
