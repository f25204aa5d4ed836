"""Pulling from a faulty hub and from folders installs only complete, pinned and harmless models."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from inpainting.catalog.inspection.model_files import check_model
from inpainting.catalog.lookup import Catalog
from inpainting.catalog.store.hub import HubSource
from inpainting.catalog.store.pull import remove_files
from inpainting.catalog.store.sources import ModelUnavailable
from inpainting.core.settings_table import DEFAULT_STRENGTH
from inpainting.models import InferenceModel, ModelState
from tests.catalog.store.conftest import PutOnline
from tests.support.hub import COMMIT, REPO, UNET_FP16, Hub, checkpoint, serving, tiny_model, weights, written

pytestmark = pytest.mark.usefixtures("models_folder")
huggingface_hub = pytest.importorskip("huggingface_hub", reason="a light installation has no hub library")
UNET = UNET_FP16


@pytest.fixture
def hub(put_online: PutOnline, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    with serving(tiny_model()) as hub:
        put_online(hub)
        yield hub


@pytest.fixture
def model(db: None) -> InferenceModel:
    return InferenceModel.objects.create(slug="tiny", label="Tiny", family="sd", repo=REPO, variant="fp16")


def pull(*arguments: str, slug: str = "tiny") -> str:
    output = StringIO()
    call_command("pull_model", slug, "--yes", *arguments, stdout=output)
    return output.getvalue()


def refusal(*arguments: str, slug: str = "tiny") -> str:
    with pytest.raises(CommandError) as caught:
        pull(*arguments, slug=slug)
    return str(caught.value)


def everything_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_pull_prints_size_and_licence_and_installs_the_needed_files(
    hub: Hub, model: InferenceModel, models_folder: Path
) -> None:
    output = pull()
    assert "creativeml-openrail-m" in output
    assert COMMIT in output
    assert "10 files" in output
    model.refresh_from_db()
    expected = set(tiny_model()) - {"README.md", "unet/diffusion_pytorch_model.safetensors"}
    assert (model.state, model.is_installed, model.revision) == (ModelState.INSTALLED, True, COMMIT)
    assert everything_in(models_folder / "tiny") == expected == set(model.files)
    assert model.files[UNET]["sha256"] == hashlib.sha256(hub.files[UNET]).hexdigest()
    assert model.size_bytes == sum(len(hub.files[name]) for name in expected)
    assert {path.name for path in models_folder.iterdir()} <= {"tiny", ".staging"}
    check_model(models_folder / "tiny", "sd")


def test_a_pull_accepts_pins_of_weights_that_are_no_longer_taken(hub: Hub, model: InferenceModel) -> None:
    pull()
    model.refresh_from_db()
    model.files = {**model.files, "safety_checker/model.fp16.safetensors": {"sha256": "0" * 64, "size": 7}}
    model.save(update_fields=["files"])
    pull()
    model.refresh_from_db()
    assert UNET in model.files
    assert "safety_checker/model.fp16.safetensors" not in model.files


def test_without_a_terminal_and_without_yes_nothing_is_downloaded(hub: Hub, model: InferenceModel) -> None:
    with pytest.raises(CommandError, match="--yes"):
        call_command("pull_model", "tiny", stdout=StringIO())
    assert {name for name, _ in hub.requested} == {"model_index.json"}
    model.refresh_from_db()
    assert model.state == ModelState.NOT_INSTALLED


def test_a_cut_download_resumes_at_the_last_byte(hub: Hub, model: InferenceModel) -> None:
    large = weights(kilobytes=24 * 1024)
    hub.files[UNET] = large
    hub.cuts[UNET] = [11_000_000, 9_000_000]
    pull()
    ranges = [wanted for name, wanted in hub.requested if name == UNET]
    assert ranges[0] == ""
    begins = [int(wanted.removeprefix("bytes=").rstrip("-")) for wanted in ranges[1:]]
    assert begins == sorted(begins)
    assert begins[0] > 0
    model.refresh_from_db()
    assert model.weights is not None
    assert (model.weights / UNET).read_bytes() == large


def test_a_later_pull_resumes_an_earlier_one(hub: Hub, model: InferenceModel, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.files[UNET] = weights(kilobytes=24 * 1024)
    monkeypatch.setattr("inpainting.catalog.store.hub.ATTEMPTS", 1)
    hub.cuts[UNET] = [11_000_000, *[0] * 6]  # more cuts than the library retries
    assert "cannot be reached" in refusal()
    model.refresh_from_db()
    assert (model.state, model.weights) == (ModelState.FAILED, None)
    finished = {name for name, _ in hub.requested} - {UNET, "model_index.json"}
    hub.requested.clear()
    pull()
    assert not finished & {name for name, _ in hub.requested}, "what had come whole came again"
    assert next(wanted for name, wanted in hub.requested if name == UNET).startswith("bytes=10")
    model.refresh_from_db()
    assert model.is_installed


@pytest.mark.parametrize("name", [UNET, "tokenizer/merges.txt"])
def test_a_wrong_hash_is_refused(hub: Hub, model: InferenceModel, models_folder: Path, name: str) -> None:
    hub.lies[name] = hub.files[name][:-1] + b"!"
    assert f"{name} is not what was promised" in refusal()
    model.refresh_from_db()
    assert (model.state, model.revision, model.files) == (ModelState.FAILED, "", {})
    assert "hash differs" in model.message
    assert not (models_folder / "tiny").exists()
    hub.lies.clear()
    pull()


def test_changed_files_under_the_pinned_revision_are_refused(hub: Hub, model: InferenceModel) -> None:
    pull()
    model.refresh_from_db()
    first = model.weights
    assert first is not None
    hub.files[UNET] = weights(seed=99)
    hub.requested.clear()
    assert "pinned at the first pull" in refusal()
    assert {name for name, _ in hub.requested} == {"model_index.json"}, "files were downloaded before the refusal"
    model.refresh_from_db()
    assert model.is_installed, "the former files stay"
    assert (first / UNET).read_bytes() == tiny_model()[UNET]
    pull("--repin")
    model.refresh_from_db()
    assert (first / UNET).read_bytes() == weights(seed=99)
    assert model.files[UNET]["sha256"] == hashlib.sha256(weights(seed=99)).hexdigest()


def test_small_files_are_pinned_too(hub: Hub, model: InferenceModel) -> None:
    pull()
    hub.files["unet/config.json"] = b'{"_class_name": "UNet2DConditionModel", "in_channels": 4}'
    assert "unet/config.json is not the file that was pinned" in refusal()


def test_the_pinned_revision_is_requested(hub: Hub, model: InferenceModel) -> None:
    pull()
    hub.commit = "b" * 40
    assert "revision" in refusal()


def test_a_repository_of_pickles_alone_is_refused_before_it_is_downloaded(hub: Hub, model: InferenceModel) -> None:
    for name in [name for name in hub.files if name.endswith(".safetensors")]:
        hub.files[name.replace(".safetensors", ".bin")] = hub.files.pop(name)
    assert "text_encoder comes without a .safetensors file; it has text_encoder/model.bin" in refusal()
    assert {name for name, _ in hub.requested} == {"model_index.json"}


def test_a_repository_with_unknown_classes_is_not_installed(
    hub: Hub, model: InferenceModel, models_folder: Path
) -> None:
    hub.files["model_index.json"] = hub.files["model_index.json"].replace(b"AutoencoderKL", b"AutoencoderXY")
    assert "list of known classes" in refusal()
    assert not (models_folder / "tiny").exists()


def test_pickles_beside_safetensors_are_not_downloaded(hub: Hub, model: InferenceModel, models_folder: Path) -> None:
    hub.files["unet/diffusion_pytorch_model.bin"] = b"pickle"
    pull()
    assert not [name for name in everything_in(models_folder) if name.endswith(".bin")]


def test_an_unknown_repository_or_model_is_reported(hub: Hub, model: InferenceModel) -> None:
    InferenceModel.objects.filter(pk=model.pk).update(repo="somebody/else")
    assert "The hub has no somebody/else" in refusal()
    assert "sd15-inpainting, sd2-inpainting" in refusal(slug="nothing")


@pytest.mark.parametrize(
    ("slug", "revision"),
    [
        # https://huggingface.co/CompVis/stable-diffusion-safety-checker/discussions/41
        ("safety-checker", "1664e306d2258485321cbbd8083074c9474d4e41"),
        # https://huggingface.co/lllyasviel/control_v11f1e_sd15_tile/discussions/4
        ("controlnet-tile-sd15", "7e2607811c97dc77a6c98a4256bb7a44f5abc8b3"),
        ("blip-base", "9cfcdbcaccbcadb2b53b36d4b50042c4eeaa0c25"),
        ("controlnet-canny-sd15", ""),
    ],
)
def test_a_repository_of_pickles_is_read_at_the_revision_that_adds_safetensors(
    db: None, monkeypatch: pytest.MonkeyPatch, slug: str, revision: str
) -> None:
    requested: list[str] = []

    def listing(source: HubSource, repo: str, wanted: str) -> None:
        requested.append(wanted)
        raise ModelUnavailable("offline")

    monkeypatch.setattr(HubSource, "listing", listing)
    model = InferenceModel.objects.get(slug=slug)
    for pinned in ("", "a" * 40):
        model.revision = pinned
        with pytest.raises(ModelUnavailable):
            HubSource().manifest(model)
    assert requested == [revision, "a" * 40]


def test_an_unreachable_hub_is_reported(hub: Hub, model: InferenceModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert "cannot be reached" in refusal()


def test_every_process_but_the_pulling_one_is_kept_offline() -> None:
    assert os.environ["HF_HUB_OFFLINE"] == os.environ["DIFFUSERS_DISABLE_REMOTE_CODE"] == "1"


def test_a_model_is_pulled_by_one_process_at_a_time(hub: Hub, model: InferenceModel) -> None:
    assert model.start_pull()
    assert "is being pulled already" in refusal()
    assert "installed in" in pull("--claim", str(model.fence))


def test_a_folder_installs_a_model_without_a_hub(model: InferenceModel, tmp_path: Path, models_folder: Path) -> None:
    files = {**tiny_model(), "notes.md": b"mine"}
    assert "this machine" in pull("--from", str(written(files, tmp_path / "copy")))
    model.refresh_from_db()
    assert model.is_installed
    assert "notes.md" not in everything_in(models_folder / "tiny")


def test_a_folder_must_match_the_pinned_hashes(hub: Hub, model: InferenceModel, tmp_path: Path) -> None:
    pull()
    good = written(tiny_model(), tmp_path / "good")
    assert "installed in" in pull("--from", str(good))
    other = written(tiny_model(**{"vae/diffusion_pytorch_model.safetensors": weights(seed=5)}), tmp_path / "other")
    assert "vae/diffusion_pytorch_model.safetensors is not the file that was pinned" in refusal("--from", str(other))


UNPREFERRED = "unet/diffusion_pytorch_model.safetensors"
LEFT = {
    "unet/x.ckpt": b"pickle",
    "unet/diffusion_pytorch_model.bin": b"pickle",
    "unet/diffusion_pytorch_model.bin.index.json": b'{"weight_map": {"a": "diffusion_pytorch_model.bin"}}',
    "convert.py": b"print()",
    ".git/hooks/pre-push.sh": b"#!/bin/sh",
}


def test_of_a_folder_with_pickles_the_safe_files_are_installed_and_the_others_named(
    model: InferenceModel, tmp_path: Path, models_folder: Path
) -> None:
    folder = written(tiny_model(**LEFT), tmp_path / "copy")
    output = pull("--from", str(folder))
    assert (
        "may run programs: .git/hooks/pre-push.sh, convert.py, unet/diffusion_pytorch_model.bin, unet/x.ckpt." in output
    )
    assert everything_in(models_folder / "tiny") == {*tiny_model()} - {"README.md", UNPREFERRED}
    assert "may run programs" in add("added", str(folder))
    check_model(models_folder / "added", "sd")


def test_a_folder_with_a_component_that_is_a_pickle_alone_is_refused(
    model: InferenceModel, tmp_path: Path, models_folder: Path
) -> None:
    folder = written(tiny_model(**LEFT), tmp_path / "copy")
    for path in (folder / "unet").glob("*.safetensors"):
        path.unlink()
    assert "unet comes without a .safetensors file; it has unet/diffusion" in refusal("--from", str(folder))
    assert not models_folder.exists()


def test_a_snapshot_in_the_cache_of_the_hub_is_installed_from_its_blobs(
    model: InferenceModel, tmp_path: Path, models_folder: Path
) -> None:
    cache = tmp_path / "models--somebody--tiny"
    folder = cache / "snapshots" / COMMIT
    for number, path in enumerate(path for path in written(tiny_model(), folder).rglob("*") if path.is_file()):
        blob = cache / "blobs" / str(number)
        blob.parent.mkdir(exist_ok=True)
        path.rename(blob)
        path.symlink_to(os.path.relpath(blob, path.parent))
    pull("--from", str(folder))
    assert not any(path.is_symlink() for path in models_folder.rglob("*"))
    check_model(models_folder / "tiny", "sd")
    (folder / "vae/more.json").symlink_to(cache.parent / "elsewhere.json")
    assert "vae/more.json is a link" in refusal("--from", str(folder))


def add(slug: str, origin: str, *arguments: str, family: str = "sd") -> str:
    output = StringIO()
    call_command("add_model", slug, f"--family={family}", f"--from={origin}", *arguments, stdout=output)
    return output.getvalue()


@pytest.fixture
def local_checkpoint(tmp_path: Path) -> Path:
    """A checkpoint on the administrator's disk."""
    path = tmp_path / "dream_v8.safetensors"
    path.write_bytes(checkpoint())
    return path


TEXTS = {name for name in tiny_model() if name.endswith((".json", ".txt"))}


def test_a_local_checkpoint_is_added_and_installed(
    db: None, local_checkpoint: Path, tmp_path: Path, models_folder: Path
) -> None:
    folder = written({name: content for name, content in tiny_model().items() if name in TEXTS}, tmp_path / "texts")
    add("dream", str(local_checkpoint), "--label=Dream", "--alias=dream_v8.safetensors", f"--config={folder}")
    model = Catalog().find_row("dream_v8.safetensors")
    assert (model.slug, model.label, model.source, model.is_installed) == ("dream", "Dream", "file", True)
    assert model.spec.path == models_folder / "dream" / "dream_v8.safetensors"
    assert everything_in(models_folder / "dream") == {
        local_checkpoint.name,
        *(f"config/{name}" for name in TEXTS),
    }
    with pytest.raises(CommandError, match="already exists"):
        add("dream", str(local_checkpoint), f"--config={folder}")


@pytest.mark.parametrize(
    ("shape", "family", "attends_to", "prediction"),
    [
        ({}, "sd", 768, "epsilon"),
        ({"channels": 4}, "sd", 768, "epsilon"),
        ({"features": 1024}, "sd", 1024, "epsilon"),
        ({"features": 1024, "channels": 4, "further": {"v_pred": ("F32", [1])}}, "sd", 1024, "v_prediction"),
        ({"features": 2048, "more": "conditioner.x"}, "sdxl", 2048, "epsilon"),
    ],
)
def test_a_checkpoint_of_a_published_shape_needs_no_installed_model(
    db: None, tmp_path: Path, models_folder: Path, shape: Any, family: str, attends_to: int, prediction: str
) -> None:
    path = tmp_path / "dream.safetensors"
    path.write_bytes(checkpoint(**shape))
    call_command("add_model", "dream", f"--family={family}", f"--from={path}", stdout=StringIO())
    folder = models_folder / "dream" / "config"
    assert json.loads((folder / "unet/config.json").read_text())["cross_attention_dim"] == attends_to
    scheduler = json.loads((folder / "scheduler/scheduler_config.json").read_text())
    assert scheduler["prediction_type"] == prediction
    assert InferenceModel.objects.get(slug="dream").is_installed


def test_a_checkpoint_of_stable_diffusion_2_that_may_predict_either_is_asked_about(
    db: None, tmp_path: Path, models_folder: Path
) -> None:
    path = tmp_path / "dream.safetensors"
    path.write_bytes(checkpoint(features=1024, channels=4))
    with pytest.raises(CommandError, match="--config sd2 or --config sd2-v"):
        add("dream", str(path))
    add("dream", str(path), "--config=sd2-v")
    scheduler = models_folder / "dream/config/scheduler/scheduler_config.json"
    assert json.loads(scheduler.read_text())["prediction_type"] == "v_prediction"


def test_a_checkpoint_of_another_shape_copies_the_configuration_of_a_matching_installed_model(
    hub: Hub, model: InferenceModel, tmp_path: Path, models_folder: Path
) -> None:
    local_checkpoint = tmp_path / "dream_v8.safetensors"
    local_checkpoint.write_bytes(checkpoint(features=512))
    hub.files["unet/config.json"] = hub.files["unet/config.json"].replace(b"768", b"512")
    other = written(tiny_model(**{"unet/config.json": b'{"cross_attention_dim": 1024}'}), tmp_path / "other")
    add("other", str(other))
    with pytest.raises(CommandError, match=r"of no published shape.*--config"):
        add("dream", str(local_checkpoint))
    with pytest.raises(CommandError, match="another kind of model"):
        add("dream", str(local_checkpoint), "--config=other")
    assert not InferenceModel.objects.filter(slug="dream").exists()
    pull()
    add("dream", str(local_checkpoint))
    remove_files(InferenceModel.objects.get(slug="tiny"))
    kept = models_folder / "dream" / "config"
    assert everything_in(kept) == TEXTS
    assert "512" in (kept / "unet/config.json").read_text()
    add("again", str(local_checkpoint), "--config=dream")
    assert everything_in(models_folder / "again" / "config") == TEXTS


@pytest.mark.parametrize(
    ("config", "problem"),
    [("nowhere", "neither"), ("sd15-inpainting", "pull_model sd15-inpainting"), ("/dev/null", "neither")],
)
def test_an_invalid_configuration_is_reported(db: None, local_checkpoint: Path, config: str, problem: str) -> None:
    with pytest.raises(CommandError, match=problem):
        add("dream", str(local_checkpoint), f"--config={config}")
    assert not InferenceModel.objects.filter(slug="dream").exists()


def test_a_checkpoint_can_replace_the_folder_of_a_model(
    hub: Hub, model: InferenceModel, local_checkpoint: Path, models_folder: Path
) -> None:
    pull()
    assert "is not the file that was pinned" in refusal("--from", str(local_checkpoint))
    pull("--repin", "--from", str(local_checkpoint), "--config", "tiny")
    model.refresh_from_db()
    assert model.weights == models_folder / "tiny" / local_checkpoint.name


def test_a_local_folder_is_added_and_installed(db: None, tmp_path: Path) -> None:
    add("mine", str(written(tiny_model(), tmp_path / "mine")))
    assert Catalog().find_row("mine").spec.path is not None


def test_a_repository_is_added_and_pulled(db: None, hub: Hub) -> None:
    assert "pull_model theirs" in add("theirs", REPO)
    pull(slug="theirs")
    assert Catalog().find_row("theirs").is_installed


@pytest.mark.parametrize(
    ("slug", "origin", "problem"),
    [
        ("../x", REPO, "slug"),
        ("Mine", REPO, "slug"),
        ("mine", "/no/such/folder", "There is no folder"),
        ("mine", "a/b--c", "no repository"),
        ("mine", "../../no/such", "There is no folder"),
        ("mine", "https://example.org/x", "no https address"),
        ("sd15", REPO, "already"),
    ],
)
def test_a_failed_addition_is_reported_and_leaves_no_row(db: None, slug: str, origin: str, problem: str) -> None:
    before = InferenceModel.objects.count()
    with pytest.raises(CommandError, match=problem):
        add(slug, origin)
    assert InferenceModel.objects.count() == before


@pytest.mark.parametrize(
    ("scheduler", "unet", "expected"),
    [
        ({"_class_name": "PNDMScheduler"}, {}, (30, 7.5, "DPMSolverMultistepScheduler")),
        ({"_class_name": "LCMScheduler"}, {}, (4, 1.0, "LCMScheduler")),
        ({"_class_name": "LCMScheduler"}, {"time_cond_proj_dim": 256}, (4, 8.0, "LCMScheduler")),
        (
            {"_class_name": "EulerAncestralDiscreteScheduler", "timestep_spacing": "trailing"},
            {},
            (4, 1.0, "EulerAncestralDiscreteScheduler"),
        ),
        (
            {"_class_name": "EulerDiscreteScheduler", "timestep_spacing": "trailing", "rescale_betas_zero_snr": True},
            {},
            (30, 7.5, "DPMSolverMultistepScheduler"),
        ),
        (
            {"_class_name": "DDIMScheduler", "timestep_spacing": "trailing", "prediction_type": "v_prediction"},
            {},
            (30, 7.5, "DPMSolverMultistepScheduler"),
        ),
    ],
)
def test_a_model_of_few_steps_has_them_as_its_defaults(
    db: None, tmp_path: Path, scheduler: dict[str, Any], unet: dict[str, Any], expected: tuple[int, float, str]
) -> None:
    folder = written(tiny_model(), tmp_path / "model")
    changes = {"scheduler/scheduler_config.json": scheduler, "unet/config.json": unet}
    for name, values in changes.items():
        path = folder / name
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
    index = json.loads((folder / "model_index.json").read_text())
    index["scheduler"] = ["diffusers", scheduler["_class_name"]]
    (folder / "model_index.json").write_text(json.dumps(index))
    add("mine", str(folder))
    row = InferenceModel.objects.get(slug="mine")
    assert (row.steps, row.guidance_scale, row.scheduler) == expected
    row.steps = 12
    row.save()
    pull("--from", str(folder), slug="mine")
    row.refresh_from_db()
    assert row.steps == 12, "what an administrator has set stays"


@pytest.mark.parametrize(
    ("name", "expected", "spacing"),
    [
        ("sd_xl_turbo_1.0_fp16", (4, 1.0, "EulerAncestralDiscreteScheduler"), "trailing"),
        ("sdxl_lightning_8step", (8, 1.0, "EulerDiscreteScheduler"), "trailing"),
        ("somethingXL_dmd2", (4, 1.0, "LCMScheduler"), "leading"),
        ("sd_xl_base_1.0", (30, 7.5, "DPMSolverMultistepScheduler"), "leading"),
    ],
)
def test_a_checkpoint_with_the_name_of_few_steps_has_them_as_its_defaults(
    db: None, tmp_path: Path, models_folder: Path, name: str, expected: tuple[int, float, str], spacing: str
) -> None:
    path = tmp_path / f"{name}.safetensors"
    path.write_bytes(checkpoint(channels=4, features=2048, more="conditioner.x"))
    call_command("add_model", "mine", "--family", "sdxl", "--from", str(path))
    row = InferenceModel.objects.get(slug="mine")
    assert (row.steps, row.guidance_scale, row.scheduler) == expected
    config = json.loads((models_folder / "mine/config/scheduler/scheduler_config.json").read_text())
    assert config["timestep_spacing"] == spacing


@pytest.mark.parametrize("is_folder", [True, False])
@pytest.mark.parametrize(("channels", "strength"), [(9, 1.0), (4, DEFAULT_STRENGTH)])
def test_a_model_that_was_trained_to_fill_repaints_all_by_default(
    db: None, tmp_path: Path, channels: int, strength: float, is_folder: bool
) -> None:
    path = tmp_path / "mine.safetensors"
    if is_folder:
        path = written(tiny_model(), tmp_path / "model")
        config = json.loads((path / "unet/config.json").read_text())
        (path / "unet/config.json").write_text(json.dumps({**config, "in_channels": channels}))
    else:
        path.write_bytes(checkpoint(channels=channels))
    add("mine", str(path))
    assert InferenceModel.objects.get(slug="mine").strength == strength


def test_a_pickled_checkpoint_is_not_added(db: None, tmp_path: Path, models_folder: Path) -> None:
    path = tmp_path / "old.ckpt"
    path.write_bytes(b"pickle")
    with pytest.raises(CommandError, match=r"old\.ckpt may hold a pickle"):
        add("old", str(path))
    assert not InferenceModel.objects.filter(slug="old").exists()
    assert not models_folder.exists()


def test_removing_a_model_deletes_its_files_and_keeps_row_and_hashes(
    hub: Hub, model: InferenceModel, models_folder: Path
) -> None:
    pull()
    model.refresh_from_db()
    pinned = model.files
    made_of_it, of_another = models_folder / ".openvino/tiny/unet-1", models_folder / ".openvino/tiny-2/unet-1"
    for folder in (made_of_it, of_another):
        folder.mkdir(parents=True)
    assert remove_files(model)
    assert not (models_folder / "tiny").exists()
    assert not made_of_it.exists()
    assert of_another.exists()
    model.refresh_from_db()
    assert (model.state, model.files) == (ModelState.NOT_INSTALLED, pinned)
    assert model.start_pull()
    assert not remove_files(model), "not while it is being pulled"
