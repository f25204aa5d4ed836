"""Published configurations: the tokenizer reads text as CLIP does, and the networks have the published sizes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from inpainting import families
from inpainting.catalog import configurations
from inpainting.catalog.inspection.formats.diffusers_folder import check_folder_texts
from inpainting.families.flux.declaration import CONFIGURATIONS

diffusers = pytest.importorskip("diffusers", reason="a light installation has no diffusers")
torch = pytest.importorskip("torch", reason="a light installation has no torch")
transformers = pytest.importorskip("transformers", reason="a light installation has no transformers")

SIZES = {
    "sd15": {"unet": 859_520_964, "vae": 83_653_863, "text_encoder": 123_060_480},
    "sd2": {"unet": 865_910_724, "vae": 83_653_863, "text_encoder": 340_387_840},
    "sdxl": {
        "unet": 2_567_463_684,
        "vae": 83_653_863,
        "text_encoder": 123_060_480,
        "text_encoder_2": 694_659_840,
    },
}
"""Parameters of the published networks."""
SIZES["sd2-v"] = SIZES["sd2"]
CLASSES = {"unet": "UNet2DConditionModel", "vae": "AutoencoderKL"}
PART_SIZES = {
    (CONFIGURATIONS, "text_encoder", "CLIPTextModel"): 123_060_480,
    (CONFIGURATIONS, "text_encoder_2", "T5EncoderModel"): 4_762_310_656,
    (CONFIGURATIONS, "vae", "AutoencoderKL"): 83_819_683,
    ("parts/qwen3-4b", "text_encoder", "Qwen3ForCausalLM"): 4_022_468_096,
    ("parts/qwen3-8b", "text_encoder", "Qwen3ForCausalLM"): 8_190_735_360,
    ("parts/qwen2.5-vl-7b", "text_encoder", "Qwen2_5_VLForConditionalGeneration"): 8_292_166_656,
    ("parts/flux2", "vae", "AutoencoderKLFlux2"): 84_046_115,
    ("parts/qwen-image", "vae", "AutoencoderKLQwenImage"): 126_892_531,
}
"""Configuration, component and class -> parameters of the published network."""


@pytest.mark.parametrize("name", configurations.NAMES)
def test_a_configuration_is_accepted_and_has_the_published_number_of_parameters(name: str, tmp_path: Path) -> None:
    configurations.write_configuration(name, tmp_path)
    (family,) = (
        family.name for family in families.registered_families() if name in sum(family.configurations.values(), ())
    )
    components = check_folder_texts(tmp_path, family)
    for part, size in SIZES[name].items():
        with torch.device("meta"):
            if part in CLASSES:
                network_class = getattr(diffusers, CLASSES[part])
                network = network_class.from_config(network_class.load_config(tmp_path / part))
            else:
                network_class = getattr(transformers, components[part])
                network = network_class(network_class.config_class.from_pretrained(tmp_path / part))
        assert sum(parameter.numel() for parameter in network.parameters()) == size, part


BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
"""As in configs/stable-diffusion/v1-inference.yaml of CompVis/stable-diffusion; those of SDXL are the same."""


@pytest.mark.parametrize(
    ("name", "file", "expected"),
    [
        ("sd15", "scheduler/scheduler_config.json", {**BETAS, "prediction_type": "epsilon", "set_alpha_to_one": False}),
        ("sd2", "scheduler/scheduler_config.json", {**BETAS, "prediction_type": "epsilon", "set_alpha_to_one": False}),
        ("sd2-v", "scheduler/scheduler_config.json", {**BETAS, "prediction_type": "v_prediction"}),
        ("sdxl", "scheduler/scheduler_config.json", {**BETAS, "prediction_type": "epsilon"}),
        ("sdxl", "scheduler/scheduler_config.json", {"timestep_spacing": "leading"}),
        ("sd15", "vae/config.json", {"scaling_factor": 0.18215}),
        ("sd2", "vae/config.json", {"scaling_factor": 0.18215}),
        ("sdxl", "vae/config.json", {"scaling_factor": 0.13025, "force_upcast": True}),
        (CONFIGURATIONS, "vae/config.json", {"scaling_factor": 0.3611, "shift_factor": 0.1159, "latent_channels": 16}),
        ("sd15", "unet/config.json", {"attention_head_dim": 8}),
        ("sd2", "unet/config.json", {"attention_head_dim": [5, 10, 20, 20], "use_linear_projection": True}),
        ("sdxl", "unet/config.json", {"attention_head_dim": [5, 10, 20], "addition_time_embed_dim": 256}),
        ("sd15", "text_encoder/config.json", {"hidden_act": "quick_gelu", "num_attention_heads": 12}),
        ("sd2", "text_encoder/config.json", {"hidden_act": "gelu", "num_attention_heads": 16}),
        ("sdxl", "text_encoder/config.json", {"hidden_act": "quick_gelu", "num_attention_heads": 12}),
        ("sdxl", "text_encoder_2/config.json", {"hidden_act": "gelu", "num_attention_heads": 20}),
        (CONFIGURATIONS, "text_encoder/config.json", {"hidden_act": "quick_gelu", "num_attention_heads": 12}),
        ("parts/qwen3-4b", "text_encoder/config.json", {"num_attention_heads": 32, "num_key_value_heads": 8}),
        ("parts/qwen3-8b", "text_encoder/config.json", {"num_attention_heads": 32, "num_key_value_heads": 8}),
        (CONFIGURATIONS, "text_encoder_2/config.json", {"feed_forward_proj": "gated-gelu", "num_heads": 64}),
        ("sd15", "tokenizer/tokenizer_config.json", {"pad_token": "<|endoftext|>", "model_max_length": 77}),
        ("sd2", "tokenizer/tokenizer_config.json", {"pad_token": "!", "model_max_length": 77}),  # number 0, as OpenCLIP
        ("sdxl", "model_index.json", {"force_zeros_for_empty_prompt": True}),
    ],
)
def test_a_configuration_has_the_published_values_that_no_number_of_parameters_shows(
    name: str, file: str, expected: dict[str, object]
) -> None:
    """The files of that name in the repositories of the publishers on huggingface.co."""
    values = configurations.files_of(name)[file]
    assert {key: values.get(key) for key in expected} == expected


@pytest.mark.parametrize("part", PART_SIZES)
def test_a_part_has_the_published_number_of_parameters(part: tuple[str, str, str], tmp_path: Path) -> None:
    name, component, class_name = part
    configurations.write_components(name, tmp_path, {component})
    with torch.device("meta"):
        if hasattr(diffusers, class_name):
            network_class = getattr(diffusers, class_name)
            network = network_class.from_config(network_class.load_config(tmp_path / component))
        else:
            network_class = getattr(transformers, class_name)
            network = network_class(network_class.config_class.from_pretrained(tmp_path / component))
    assert sum(parameter.numel() for parameter in network.parameters()) == PART_SIZES[part]


def test_text_gets_the_numbers_of_t5(tmp_path: Path) -> None:
    configurations.write_components(CONFIGURATIONS, tmp_path, {"tokenizer_2"})
    assert [path.name for path in tmp_path.iterdir()] == ["tokenizer_2"]
    tokenizer = transformers.T5TokenizerFast.from_pretrained(tmp_path / "tokenizer_2", local_files_only=True)
    # As in the documentation of transformers (T5, "Training" and "Inference").
    text = "translate English to German: The house is wonderful."
    assert tokenizer(text)["input_ids"] == [13959, 1566, 12, 2968, 10, 37, 629, 19, 1627, 5, 1]
    text = "The <extra_id_0> walks in <extra_id_1> park"
    assert tokenizer(text)["input_ids"] == [37, 32099, 10681, 16, 32098, 2447, 1]
    assert tokenizer("ｆｕｌｌ")["input_ids"] == tokenizer("full")["input_ids"]
    assert len(tokenizer("a", padding="max_length")["input_ids"]) == 512


@pytest.mark.parametrize("name", ["parts/qwen3-4b", "parts/qwen3-8b", "parts/qwen2.5-vl-7b"])
def test_the_positions_of_qwen_turn_as_published(name: str, tmp_path: Path) -> None:
    configurations.write_components(name, tmp_path, {"text_encoder"})
    configuration = transformers.AutoConfig.from_pretrained(tmp_path / "text_encoder").get_text_config()
    assert configuration.rope_parameters["rope_theta"] == 1_000_000
    assert configuration.rope_parameters.get("mrope_section") == ([16, 24, 24] if "vl" in name else None)
    assert configuration.rms_norm_eps == 1e-6
    assert configuration.sliding_window is None


def test_qwen_has_the_published_vocabulary(tmp_path: Path) -> None:
    configurations.write_components("parts/qwen3-4b", tmp_path, {"tokenizer"})
    folder = tmp_path / "tokenizer"
    vocabulary = json.dumps(json.loads((folder / "vocab.json").read_text()), ensure_ascii=False, separators=(",", ":"))
    # Of the files of these names in https://huggingface.co/Qwen/Qwen2.5-7B-Instruct and Qwen/Qwen3-4B.
    published = {
        vocabulary.encode(): "ca10d7e9fb3ed18575dd1e277a2579c16d108e32f27439684afa0e10b1440910",
        (folder / "merges.txt").read_bytes(): "8831e4f1a044471340f7c0a83d7bd71306a5b867e95fd870f74d0c5308a904d5",
    }
    for data, digest in published.items():
        assert hashlib.sha256(data).hexdigest() == digest


QWEN_TEXT = "<|im_start|>user\nein Bär läuft   über 1234 Straßen<|im_end|>\n<|im_start|>assistant\n"
QWEN_NUMBERS = [
    *(151644, 872, 198, 71620, 425, 13977, 30005, 89131, 256, 13785, 220, 16, 17, 18, 19, 143089),
    *(151645, 198, 151644, 77091, 198),
]
THOUGHT = "<think>\n\n</think>\n\n你好 🎨"


@pytest.mark.parametrize(
    ("name", "thought"),
    [
        ("parts/qwen3-4b", [151667, 271, 151668, 271, 108386, 11162, 236, 101]),
        ("parts/qwen3-8b", [151667, 271, 151668, 271, 108386, 11162, 236, 101]),
        ("parts/qwen2.5-vl-7b", [13708, 766, 1339, 522, 26865, 1339, 108386, 11162, 236, 101]),
    ],
)
def test_text_gets_the_numbers_of_qwen(name: str, thought: list[int], tmp_path: Path) -> None:
    """As the library tokenizers reads them with the tokenizer.json of Qwen/Qwen3-4B and Qwen/Qwen2.5-7B-Instruct."""
    configurations.write_components(name, tmp_path, {"tokenizer"})
    tokenizer = transformers.Qwen2Tokenizer.from_pretrained(tmp_path / "tokenizer", local_files_only=True)
    assert tokenizer(QWEN_TEXT)["input_ids"] == QWEN_NUMBERS
    assert tokenizer(THOUGHT)["input_ids"] == thought
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id) == (151643, 151645)


def test_text_gets_the_numbers_of_the_published_vocabulary(tmp_path: Path) -> None:
    configurations.write_configuration("sdxl", tmp_path)
    for folder, padding in (("tokenizer", 49407), ("tokenizer_2", 0)):
        tokenizer = transformers.CLIPTokenizer.from_pretrained(tmp_path / folder, local_files_only=True)
        assert len(tokenizer) == 49408
        # As in the examples of openai/CLIP and transformers.
        assert tokenizer("a photo of a cat")["input_ids"] == [49406, 320, 1125, 539, 320, 2368, 49407]
        padded = tokenizer("a", padding="max_length")["input_ids"]
        assert padded == [49406, 320, 49407, *[padding] * 74]
