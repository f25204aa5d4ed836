"""Checks of model files, before any library reads them."""

from __future__ import annotations

import json
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest

from inpainting.catalog.inspection.files import ModelRefused, model_folder
from inpainting.catalog.inspection.formats.diffusers_folder import pipeline_files
from inpainting.catalog.inspection.model_files import check_model
from inpainting.catalog.shipped import SHIPPED
from inpainting.catalog.specs import FEW_STEPS, FewSteps, LoraKind, ModelSpec
from inpainting.core.errors import InvalidRequest
from tests.support.hub import INDEX, checkpoint, tiny_model, weights, written


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return written(tiny_model(), tmp_path / "model")


def refusal(path: Path, family: str = "sd") -> str:
    with pytest.raises(ModelRefused) as caught:
        check_model(path, family)
    assert caught.value.code == "model_refused"
    return caught.value.message


def test_a_model_in_diffusers_layout_is_accepted(folder: Path) -> None:
    check_model(folder, "sd")


@pytest.mark.parametrize("pipeline", ["StableDiffusionImg2ImgPipeline", "LatentConsistencyModelPipeline"])
def test_a_model_saved_from_another_pipeline_of_the_same_parts_is_accepted(folder: Path, pipeline: str) -> None:
    (folder / "model_index.json").write_text(json.dumps({**INDEX, "_class_name": pipeline}))
    check_model(folder, "sd")


def test_a_model_saved_with_its_controlnet_is_accepted(folder: Path) -> None:
    index = {**INDEX, "_class_name": "StableDiffusionControlNetInpaintPipeline"}
    (folder / "model_index.json").write_text(json.dumps({**index, "controlnet": ["diffusers", "ControlNetModel"]}))
    written(
        {"config.json": b'{"_class_name": "ControlNetModel"}', "model.safetensors": weights()}, folder / "controlnet"
    )
    check_model(folder, "sd")


def test_a_checkpoint_is_accepted_for_its_own_family_alone(tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    for channels in (4, 9):
        path.write_bytes(checkpoint(channels=channels))
        check_model(path, "sd")
    assert "family sd, not sdxl" in refusal(path, "sdxl")
    path.write_bytes(checkpoint(more="conditioner.x"))
    check_model(path, "sdxl")
    path.write_bytes(checkpoint(channels=8))
    assert "takes 8 channels" in refusal(path)
    path.write_bytes(weights(name="lora_unet_down.weight"))
    assert "no checkpoint of Stable Diffusion" in refusal(path)


@pytest.mark.parametrize("mark", ["edm_vpred.sigma_max", "edm_mean"])
def test_a_checkpoint_of_edm_is_refused_with_the_reason(tmp_path: Path, mark: str) -> None:
    path = tmp_path / "mine.safetensors"
    path.write_bytes(checkpoint(more="conditioner.x", further={mark: ("F32", [1])}))
    assert mark in (message := refusal(path, "sdxl"))
    assert "no scheduler here supports" in message


@pytest.mark.parametrize("name", ["EDMEulerScheduler", "EDMDPMSolverMultistepScheduler"])
def test_a_folder_with_an_edm_scheduler_is_refused_with_the_reason(folder: Path, name: str) -> None:
    (folder / "model_index.json").write_text(json.dumps({**INDEX, "scheduler": ["diffusers", name]}))
    assert "no scheduler here supports" in refusal(folder)


LAYER = "model.diffusion_model.input_blocks.1.0.in_layers.2"


@pytest.mark.parametrize(
    "tensors",
    [
        {f"{LAYER}.weight": ("U8", [4, 2])},
        {f"{LAYER}.weight": ("F16", [4, 2]), f"{LAYER}.scale_weight": ("F32", [])},
        {f"{LAYER}.weight": ("F8_E4M3", [4, 2]), f"{LAYER}.weight_scale": ("F8_E8M0", [4, 2])},
        {f"{LAYER}.scale_weight": ("F32", [])},
    ],
)
def test_quantised_weights_that_cannot_be_read_are_refused_by_name(
    tmp_path: Path, tensors: dict[str, tuple[str, list[int]]]
) -> None:
    path = tmp_path / "mine.safetensors"
    path.write_bytes(
        checkpoint(further={f"{LAYER}.weight": ("F8_E4M3", [4, 2]), f"{LAYER}.scale_weight": ("F32", [1])})
    )
    check_model(path, "sd")
    path.write_bytes(checkpoint(further=tensors))
    assert "is quantised" in (message := refusal(path))
    assert "input_blocks.1.0" in message


def test_the_files_beside_a_checkpoint_are_checked_too(tmp_path: Path, folder: Path) -> None:
    path = tmp_path / "mine.safetensors"
    path.write_bytes(checkpoint())
    folder.rename(tmp_path / "config")
    check_model(path, "sd")
    (tmp_path / "config/unet/config.json").write_text('{"_class_name": "UNet2DConditionModel", "auto_map": {}}')
    assert "refers to code of its own" in refusal(path)


PARTS = [f"diffusion_pytorch_model-0000{number}-of-00002.safetensors" for number in (1, 2)]
LIST = "diffusion_pytorch_model.safetensors.index.json"


def sharded(folder: Path, variant: str = "") -> Path:
    """The folder of the UNet with its weights in two shards. variant: such as “.fp16”."""
    unet = folder / "unet"
    for path in unet.glob("*.safetensors"):
        path.unlink()
    names = [name.replace("model-", f"model{variant}-") for name in PARTS]
    for name in names:
        (unet / name).write_bytes(weights())
    shards = {"weight_map": {"a": names[0], "b": names[1]}}
    (unet / LIST.replace(".json", f"{variant}.json")).write_text(json.dumps(shards))
    return unet


@pytest.mark.parametrize("variant", ["", ".fp16"])
def test_weights_in_shards_are_accepted_only_whole(folder: Path, variant: str) -> None:
    unet = sharded(folder, variant)
    check_model(folder, "sd")
    first = PARTS[0].replace("model-", f"model{variant}-")
    (unet / first).unlink()
    assert f"unet lacks {first}" in refusal(folder)
    (unet / f"diffusion_pytorch_model{variant}.safetensors").write_bytes(weights())
    check_model(folder, "sd")


def test_shards_without_their_list_are_refused(folder: Path) -> None:
    (sharded(folder) / LIST).unlink()
    assert f"without {LIST}" in refusal(folder)


def test_a_list_of_shards_beside_weights_of_another_variant_is_not_read(folder: Path) -> None:
    unet = sharded(folder)
    for name in PARTS:
        (unet / name).unlink()
    (unet / "diffusion_pytorch_model.fp16.safetensors").write_bytes(weights())
    check_model(folder, "sd")


@pytest.mark.parametrize(
    ("lost", "named"),
    [
        ("scheduler/scheduler_config.json", "scheduler holds no scheduler_config.json"),
        ("tokenizer/vocab.json", "tokenizer holds no tokenizer.json, nor vocab.json and merges.txt"),
        ("tokenizer/merges.txt", "tokenizer holds no tokenizer.json, nor vocab.json and merges.txt"),
    ],
)
def test_a_scheduler_and_a_tokenizer_have_their_files(folder: Path, lost: str, named: str) -> None:
    """transformers reads no word of a prompt without a vocabulary, and says nothing."""
    (folder / lost).unlink()
    assert named in refusal(folder)
    if lost.startswith("tokenizer"):
        (folder / "tokenizer" / "tokenizer.json").write_text("{}")
        check_model(folder, "sd")


def test_files_of_the_safetensors_library_are_accepted(folder: Path) -> None:
    library = pytest.importorskip("safetensors.numpy", reason="a light installation has none")
    kinds = (np.float64, np.float32, np.float16, np.int64, np.uint8, np.bool_)
    tensors = {kind.__name__: np.ones((3, 5), kind) for kind in kinds} | {"one": np.array(1, np.float32)}
    library.save_file(tensors, folder / "vae/diffusion_pytorch_model.safetensors", metadata={"format": "np"})
    check_model(folder, "sd")


@pytest.mark.parametrize("ending", [".bin", ".ckpt", ".pt", ".pth", ".pkl", ".h5", ".PT"])
def test_a_pickle_beside_valid_files_is_refused_and_named(folder: Path, ending: str) -> None:
    name = f"unet/diffusion_pytorch_model{ending}"
    (folder / name).write_bytes(pickle.dumps([1]))
    assert name in refusal(folder)


def test_a_pickle_with_the_suffix_safetensors_is_refused(folder: Path) -> None:
    (folder / "unet/diffusion_pytorch_model.safetensors").write_bytes(pickle.dumps([1] * 100))
    assert "no .safetensors file" in refusal(folder)


@pytest.mark.parametrize(
    ("component", "value"),
    [
        ("unet", ["diffusers", "UNet3DConditionModel"]),
        ("unet", ["my_code", "UNet2DConditionModel"]),
        ("unet", ["diffusers"]),
        ("vae", {"library": "diffusers"}),
        ("helper", ["os", "system"]),
        ("_class_name", ["my_pipeline", "Pipeline"]),
        ("_class_name", "PixArtSigmaPipeline"),
        ("scheduler", ["diffusers", "FlowMatchEulerDiscreteScheduler"]),
        ("vae", [None, None]),
    ],
)
def test_a_class_that_is_not_on_the_list_is_refused(folder: Path, component: str, value: object) -> None:
    (folder / "model_index.json").write_text(json.dumps({**INDEX, component: value}))
    assert "model_index.json" in refusal(folder)


def test_a_model_of_another_family_is_refused(folder: Path) -> None:
    assert "family sd, not sdxl" in refusal(folder, "sdxl")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("text_encoder/config.json", '{"auto_map": {"AutoModel": "modeling.Mine"}}'),
        ("unet/config.json", '{"_class_name": "AnotherModel"}'),
        ("unet/model.safetensors.index.json", '{"weight_map": {"a": "../../elsewhere.safetensors"}}'),
        ("unet/diffusion_pytorch_model.bin.index.json", '{"weight_map": {"a": "diffusion_pytorch_model.weights"}}'),
        ("text_encoder/pytorch_model.bin.index.fp16.json", '{"weight_map": {"a": "../../elsewhere.safetensors"}}'),
        ("vae/config.json", "{"),
        ("text_encoder/adapter_config.json", '{"base_model_name_or_path": "somebody/else"}'),
        ("vae/decode.py", "print()"),
    ],
)
def test_a_configuration_that_names_code_or_another_place_is_refused(folder: Path, name: str, content: str) -> None:
    (folder / name).write_text(content)
    assert name.rpartition("/")[2] in refusal(folder)


@pytest.mark.parametrize("component", ["unet", "vae", "text_encoder"])
def test_a_component_with_weights_needs_its_configuration(folder: Path, component: str) -> None:
    (folder / component / "config.json").unlink()
    assert f"{component} holds no config.json" in refusal(folder)


def test_a_link_out_of_the_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere.json").write_text("{}")
    (folder / "unet/more.json").symlink_to(tmp_path / "elsewhere.json")
    assert "unet/more.json is a link" in refusal(folder)
    (folder / "unet/more.json").unlink()
    (folder / "vae_too").symlink_to(tmp_path, target_is_directory=True)
    assert "vae_too is a link" in refusal(folder)


def header(tensors: object, numbers: int = 8) -> bytes:
    text = json.dumps(tensors).encode()
    return struct.pack("<Q", len(text)) + text + b"\0" * numbers


def tensor(begin: int, end: int, shape: object = (1,), dtype: str = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        struct.pack("<Q", 2**63) + b"{}" * 100,
        header([1]),
        header({"a": tensor(0, 4), "b": tensor(2, 6)}),  # an overlap
        header({"a": tensor(0, 4), "b": tensor(5, 9)}, 9),  # a hole
        header({"a": tensor(0, 4)}, 8),  # bytes that belong to no tensor
        header({"a": tensor(0, 8)}),  # longer than its shape
        header({"a": tensor(0, 8, (-1, -2))}),
        header({"a": tensor(0, 8, (True, 2))}),
        header({"a": tensor(0, 8, dtype="O8")}),
        header({"a": tensor(8, 0)}),
        header({"a": 7}),
        b"\x10\0\0\0\0\0\0\0" + b"[" * 16,
    ],
)
def test_a_damaged_header_is_refused(folder: Path, content: bytes) -> None:
    (folder / "vae/diffusion_pytorch_model.safetensors").write_bytes(content)
    assert "diffusion_pytorch_model.safetensors" in refusal(folder)


def test_only_the_needed_files_of_a_repository_are_listed() -> None:
    files = [*tiny_model(), "unet/diffusion_pytorch_model.bin", "unet/diffusion_pytorch_model.non_ema.safetensors"]
    files += ["whole.safetensors", "unet/handler.py", "safety_checker/model.safetensors", "unet/deeper/config.json"]
    wanted = set(pipeline_files(files, INDEX, "fp16", "sd"))
    expected = {*tiny_model(), "unet/diffusion_pytorch_model.fp16.safetensors"} - {"README.md"}
    assert wanted == expected - {"unet/diffusion_pytorch_model.safetensors"}
    assert "unet/diffusion_pytorch_model.safetensors" in pipeline_files(files, INDEX, "", "sd")


def test_weights_that_are_not_loaded_are_left_out(folder: Path) -> None:
    index = {**INDEX, "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"]}
    files = [*tiny_model(), "safety_checker/config.json", "safety_checker/model.safetensors"]
    wanted = pipeline_files(files, index, "", "sd")
    assert "safety_checker/model.safetensors" not in wanted
    pickled = [*tiny_model(), "safety_checker/config.json", "safety_checker/pytorch_model.bin"]
    assert pipeline_files(pickled, index, "", "sd") == wanted
    (folder / "model_index.json").write_text(json.dumps(index))
    check_model(folder, "sd")


def test_sharded_weights_are_listed_with_their_index() -> None:
    parts = [f"unet/diffusion_pytorch_model.fp16-0000{number}-of-00002.safetensors" for number in (1, 2)]
    files = [*tiny_model(), *parts, "unet/diffusion_pytorch_model.safetensors.index.fp16.json"]
    assert set(files[-3:]) <= set(pipeline_files(files, INDEX, "fp16", "sd"))
    assert not set(files[-3:]) & set(pipeline_files(files, INDEX, "", "sd"))


def test_a_component_that_exists_only_as_a_pickle_is_named() -> None:
    files = [name for name in tiny_model() if not name.startswith("vae/diff")] + ["vae/diffusion_pytorch_model.bin"]
    with pytest.raises(ModelRefused, match=r"vae comes without .* vae/diffusion_pytorch_model\.bin"):
        pipeline_files(files, INDEX, "fp16", "sd")


@pytest.mark.parametrize("slug", ["", "Big", "../up", "a/b", "-a", "a" * 65, "ä", "a\n", ".hidden"])
def test_a_slug_is_short_and_has_plain_characters(slug: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest) as caught:
        ModelSpec(slug=slug, label="x", family="sd")
    assert caught.value.code == "model_slug_invalid"
    with pytest.raises(InvalidRequest):
        model_folder(slug, tmp_path)


def test_the_path_of_a_model_stays_inside_the_models_folder(tmp_path: Path) -> None:
    root = tmp_path / "models"
    root.mkdir()
    (root / "mine").symlink_to(tmp_path)
    with pytest.raises(ModelRefused):
        model_folder("mine", root)


def test_each_shipped_model_has_a_licence_a_size_and_names_of_its_own() -> None:
    assert SHIPPED[0].slug == "sd15-inpainting"  # the one that messages recommend
    assert all("OpenRAIL" in spec.licence for spec in SHIPPED if spec.family in ("sd", "sdxl"))
    assert all(spec.licence and spec.licence_url and spec.size_bytes for spec in SHIPPED)
    names = [name for spec in SHIPPED for name in (spec.slug, *spec.aliases)]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("slug", "steps", "guidance_scale"),
    [
        ("sd15-inpainting", 30, 7.5),  # diffusers' scale; its 50 steps are of PNDM, and DPM-Solver++ needs fewer
        ("sd2-inpainting", 30, 7.5),
        ("sd15", 30, 7.5),
        ("sdxl-inpainting", 20, 8.0),  # its model card; "steps between 15 and 30 work well"
        ("sdxl", 30, 7.0),  # its model card names none; diffusers' pipelines have 5.0 and, for inpainting, 7.5
        ("flux-dev", 28, 3.5),  # as flux-kontext
        ("flux-krea-dev", 28, 4.5),
        ("flux-schnell", 4, 3.5),  # its model card; it takes no scale
        ("chroma", 40, 3.0),  # the example in diffusers' documentation
        ("flux-kontext", 28, 2.5),  # the scale of its model card, and the steps of diffusers' pipeline
        ("flux2-klein-4b", 4, 1.0),  # its model card
        ("flux2-klein-base-4b", 50, 4.0),  # the example in diffusers' pipeline
        ("qwen-image", 50, 4.0),  # its model card (`true_cfg_scale`)
        ("sd35-medium", 40, 4.5),  # its model card, as the next two
        ("sd35-large", 28, 3.5),
        ("sd35-large-turbo", 4, 1.0),
    ],
)
def test_a_shipped_model_has_the_published_steps_and_guidance_scale(
    slug: str, steps: int, guidance_scale: float
) -> None:
    """Those of FLUX.1 Fill and of Z-Image are compared in the tests of their files."""
    (spec,) = [spec for spec in SHIPPED if spec.slug == slug]
    assert (spec.steps, spec.guidance_scale) == (steps, guidance_scale)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        # https://huggingface.co/latent-consistency/lcm-lora-sdxl
        (LoraKind.LCM, FewSteps(4, 1.0, "LCMScheduler", is_trailing=False)),
        # https://huggingface.co/ByteDance/SDXL-Lightning
        (LoraKind.LIGHTNING, FewSteps(4, 1.0, "EulerDiscreteScheduler", is_trailing=True)),
        # https://huggingface.co/ByteDance/Hyper-SD
        (LoraKind.HYPER, FewSteps(8, 1.0, "DDIMScheduler", is_trailing=True)),
    ],
)
def test_a_distilled_lora_has_the_steps_and_the_scheduler_of_its_model_card(kind: LoraKind, expected: FewSteps) -> None:
    """The cards' guidance scale is 0, which diffusers' pipelines compute as 1: without guidance."""
    assert FEW_STEPS[kind] == expected


def test_a_preprocessor_may_name_code_for_an_autoprocessor_and_nothing_else_may(tmp_path: Path) -> None:
    """The preprocessor_config.json of microsoft/Florence-2-base does. No file of code is taken or loaded."""
    from tests.support.published_preprocessors import PUBLISHED

    def florence(**files: object) -> Path:
        texts = {"config": {"model_type": "florence2"}, "preprocessor_config": PUBLISHED["florence2"], **files}
        contents = {f"{name}.json": json.dumps(text).encode() for name, text in texts.items()}
        return written({**contents, "model.safetensors": weights()}, tmp_path / "florence")

    check_model(florence(), "florence2")
    code = {"AutoProcessor": "theirs.Processor"}
    for name, auto_map in (
        ("config", code),
        ("tokenizer_config", code),
        ("preprocessor_config", {**code, "AutoImageProcessor": "theirs.Images"}),
        ("preprocessor_config", ["AutoProcessor"]),
    ):
        folder = florence(**{name: {"model_type": "florence2", "auto_map": auto_map}})
        assert "refers to code of its own (auto_map)" in refusal(folder, "florence2")
        (folder / "tokenizer_config.json").unlink(missing_ok=True)
