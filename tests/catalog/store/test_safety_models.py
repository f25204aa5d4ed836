"""The safety checker is installed as other models are, but is not offered for painting."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path

import pytest
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.test import Client

from accounts.models import User
from inpainting import families
from inpainting.catalog.lookup import Catalog
from inpainting.catalog.shipped import SAFETENSORS_REVISIONS, SHIPPED
from inpainting.core.errors import InvalidRequest
from inpainting.core.request import PaintSettings
from inpainting.models import InferenceModel, ModelState
from inpainting.moderation import find_safety_checker
from inpainting.planning import planner
from tests.catalog.store.conftest import PutOnline
from tests.support import tiny_checker
from tests.support.hub import Hub, serving

pytestmark = pytest.mark.usefixtures("models_folder", "db")
PUBLISHED_AS_SAFETENSORS = "1664e306d2258485321cbbd8083074c9474d4e41"
"""The commit of refs/pr/41, which other programs name too (Acly/krita-ai-diffusion): main has the weights as a pickle
alone. Its model.safetensors has 608,018,440 bytes and the SHA-256 of safety_checker/model.fp16.safetensors in Stable
Diffusion 1.5, 08902f19b1cfebd7c989f152fc0507bef6898c706a91d666509383122324b511."""
FILES = {"config.json", "preprocessor_config.json", "model.safetensors"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_checker.saved(tmp_path / "carried", tiny_checker.checker())


@pytest.fixture
def hub(put_online: PutOnline, folder: Path) -> Iterator[Hub]:
    """A hub with the published checker and the other files of its repository."""
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    more = {"pytorch_model.bin": b"x", "flax_model.msgpack": b"x", "README.md": b"---\n---\n"}
    with serving({**files, **more}) as hub:
        hub.repo, hub.commit = "CompVis/stable-diffusion-safety-checker", PUBLISHED_AS_SAFETENSORS
        put_online(hub)
        yield hub


def output_of(command: str, *arguments: str) -> str:
    output = StringIO()
    call_command(command, *arguments, stdout=output)
    return output.getvalue()


def test_it_is_shipped_in_a_family_that_does_not_paint_and_is_not_installed() -> None:
    (spec,) = [spec for spec in SHIPPED if spec.family == "safety-checker"]
    assert spec.repo == "CompVis/stable-diffusion-safety-checker"
    assert SAFETENSORS_REVISIONS[spec.repo] == PUBLISHED_AS_SAFETENSORS
    assert spec.licence
    assert spec.size_bytes == 608_000_000
    assert "safety-checker" not in {
        *families.names(engine="diffusion"),
        *families.names(engine="erase"),
        *families.generating(),
    }
    assert InferenceModel.objects.get(slug=spec.slug).state == ModelState.NOT_INSTALLED


def test_only_the_files_of_the_shipped_model_are_pulled(hub: Hub, models_folder: Path) -> None:
    output_of("pull_model", "safety-checker", "--yes")
    model = InferenceModel.objects.get(slug="safety-checker")
    assert model.is_installed
    assert model.spec.path == models_folder / "safety-checker"
    assert {path.name for path in models_folder.rglob("*") if path.is_file()} == FILES
    assert model.files.keys() == FILES
    assert model.revision == hub.commit
    assert all(len(file["sha256"]) == 64 for file in model.files.values())
    assert find_safety_checker().path == model.spec.path


def test_weights_that_differ_from_the_pinned_ones_are_refused(hub: Hub) -> None:
    output_of("pull_model", "safety-checker", "--yes")
    hub.files["model.safetensors"] = hub.files["model.safetensors"][:-4] + b"\0\0\0\1"
    with pytest.raises(CommandError, match="not the file that was pinned"):
        output_of("pull_model", "safety-checker", "--yes")


def test_a_repository_without_safetensors_is_refused_before_the_download(hub: Hub) -> None:
    del hub.files["model.safetensors"]
    with pytest.raises(CommandError, match=r"model\.safetensors is missing"):
        output_of("pull_model", "safety-checker", "--yes")
    assert hub.requested == []


def test_it_is_installed_from_a_folder(folder: Path, models_folder: Path) -> None:
    output_of("pull_model", "safety-checker", "--yes", f"--from={folder}")
    assert InferenceModel.objects.get(slug="safety-checker").is_installed
    output_of("add_model", "stricter", "--family=safety-checker", f"--from={folder}")
    assert InferenceModel.objects.get(slug="stricter").spec.path == models_folder / "stricter"


def with_other_class(folder: Path) -> None:
    change(folder / "config.json", architectures=["CLIPModel"])


def with_code(folder: Path) -> None:
    change(folder / "config.json", auto_map={"AutoModel": "theirs.Model"})


def with_other_preparation(folder: Path) -> None:
    change(folder / "preprocessor_config.json", image_processor_type="TheirImageProcessor")


def with_a_pickle(folder: Path) -> None:
    (folder / "pytorch_model.bin").write_bytes(b"x")


def with_an_adapter(folder: Path) -> None:
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "somebody/else"}')


def without_configuration(folder: Path) -> None:
    (folder / "config.json").unlink()


def with_other_tensors(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes().replace(b'"concept_embeds_weights"', b'"koncept_embeds_weights"'))


def cut_off(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])


def change(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (with_other_class, "not the class of a safety checker"),
        (with_code, "refers to code of its own"),
        (with_other_preparation, "not on the list of known classes"),
        (with_a_pickle, "may hold a pickle"),
        (with_an_adapter, r"adapter_config\.json"),
        (without_configuration, r"config\.json is missing"),
        (with_other_tensors, "concept_embeds_weights is missing"),
        (cut_off, "is damaged"),
    ],
)
def test_an_invalid_checker_is_not_added(folder: Path, spoil: Callable[[Path], None], problem: str) -> None:
    spoil(folder)
    with pytest.raises(CommandError, match=problem):
        output_of("add_model", "mine", "--family=safety-checker", f"--from={folder}")
    assert not InferenceModel.objects.filter(slug="mine").exists()


def test_a_single_file_is_no_checker_and_a_checker_is_no_model_of_another_family(folder: Path) -> None:
    with pytest.raises(CommandError, match="is missing"):
        output_of("add_model", "mine", "--family=safety-checker", f"--from={folder / 'model.safetensors'}")
    with pytest.raises(CommandError, match="no model in diffusers' layout"):
        output_of("add_model", "mine", "--family=sd", f"--from={folder}")


def test_it_is_not_offered_as_a_model(folder: Path, client: Client, alices_program: Client, alice: User) -> None:
    output_of("pull_model", "safety-checker", "--yes", f"--from={folder}")
    assert planner().choose().engine.name == "quick-fill"
    assert planner().choose("auto", PaintSettings(prompt="a lawn")).engine.name == "quick-fill"
    listed = alices_program.get("/api/models").json()["models"]
    assert listed
    assert "safety-checker" not in [model["id"] for model in listed]
    with pytest.raises(InvalidRequest, match="There is no model of that name") as unknown:
        Catalog().find_row("CompVis/stable-diffusion-safety-checker")
    assert "safety-checker" not in unknown.value.message
    client.force_login(alice)
    assert 'value="safety-checker"' not in client.get("/").content.decode()
    schema = alices_program.get("/api/schema/?format=json").json()["components"]["schemas"]
    assert "safety-checker" not in json.dumps(schema["ModelDocument"])


def test_it_cannot_be_the_fallback_model(folder: Path) -> None:
    model = InferenceModel.objects.get(slug="safety-checker")
    model.is_fallback = True
    with pytest.raises(ValidationError, match="paints nothing"):
        model.full_clean()


def test_the_page_of_models_lists_it_for_administrators(client: Client) -> None:
    client.force_login(User.objects.create_superuser("boss@example.com", "a long one"))
    page = client.get("/models/").content.decode()
    assert 'id="model-safety-checker"' in page
    assert "Get Safety checker" in page


def test_a_disabled_checker_is_not_used(folder: Path) -> None:
    output_of("pull_model", "safety-checker", "--yes", f"--from={folder}")
    InferenceModel.objects.get(slug="safety-checker").switch(False)
    with pytest.raises(InvalidRequest) as refused:
        find_safety_checker()
    assert refused.value.code == "safety_checker_unavailable"
