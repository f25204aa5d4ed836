"""LaMa and MI-GAN are installed like other models: one ONNX file, checked, pinned, and moved into place atomically."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from inpainting import families
from inpainting.catalog.shipped import SHIPPED
from inpainting.models import InferenceModel, ModelState
from tests.catalog.store.conftest import PutOnline
from tests.support import tiny_networks
from tests.support.hub import Hub, serving

pytestmark = pytest.mark.usefixtures("models_folder")
BUILDERS: dict[str, Callable[..., bytes]] = {"lama": tiny_networks.lama, "migan": tiny_networks.migan}
FILES = {"lama": "lama_fp32.onnx", "migan": "migan_pipeline_v2.onnx"}


@pytest.fixture
def hub(put_online: PutOnline) -> Iterator[Hub]:
    with serving({}) as hub:
        put_online(hub)
        yield hub


def output_of(command: str, *arguments: str) -> str:
    output = StringIO()
    call_command(command, *arguments, stdout=output)
    return output.getvalue()


def test_both_are_shipped_with_licence_and_size_and_neither_is_installed(db: None) -> None:
    specs = [spec for spec in SHIPPED if spec.family in families.names(engine="erase")]
    assert [(spec.slug, spec.licence) for spec in specs] == [("lama", "Apache-2.0"), ("migan", "MIT")]
    assert all(spec.licence_url and spec.size_bytes for spec in specs)
    assert not InferenceModel.objects.exclude(state=ModelState.NOT_INSTALLED).exists()


@pytest.mark.parametrize("slug", ["lama", "migan"])
def test_only_the_files_of_the_shipped_model_are_pulled(db: None, hub: Hub, models_folder: Path, slug: str) -> None:
    model = InferenceModel.objects.get(slug=slug)
    hub.repo = model.repo
    hub.files = {FILES[slug]: BUILDERS[slug](), "other.onnx": b"x", "weights.pt": b"x", "README.md": b"---\n---\n"}
    output = output_of("pull_model", slug, "--yes")
    assert model.licence in output
    model.refresh_from_db()
    assert model.is_installed
    assert model.spec.path == models_folder / slug / FILES[slug]
    assert {path.name for path in models_folder.rglob("*") if path.is_file()} == {FILES[slug]}
    assert model.files.keys() == {FILES[slug]}
    assert (model.revision, len(model.files[FILES[slug]]["sha256"])) == (hub.commit, 64)


def test_a_pulled_file_that_is_no_network_is_not_installed(db: None, hub: Hub, models_folder: Path) -> None:
    hub.repo = InferenceModel.objects.get(slug="lama").repo
    hub.files = {FILES["lama"]: tiny_networks.with_external_numbers()}
    with pytest.raises(CommandError, match="numbers of another file"):
        output_of("pull_model", "lama", "--yes")
    assert not (models_folder / "lama").exists()
    assert InferenceModel.objects.get(slug="lama").state == ModelState.FAILED


def test_a_file_over_the_limit_is_not_downloaded(db: None, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inpainting.catalog.inspection.formats.onnx_files.MAX_ONNX_BYTES", 1000)
    hub.repo = InferenceModel.objects.get(slug="lama").repo
    hub.files = {FILES["lama"]: tiny_networks.lama()}
    with pytest.raises(CommandError, match="larger than"):
        output_of("pull_model", "lama", "--yes")
    assert hub.requested == []


@pytest.mark.parametrize("family", ["lama", "migan"])
def test_a_local_network_is_added_and_installed(db: None, tmp_path: Path, models_folder: Path, family: str) -> None:
    path = tmp_path / "mine.onnx"
    path.write_bytes(BUILDERS[family]())
    output = output_of("add_model", "mine", f"--family={family}", f"--from={path}")
    assert "mine is installed" in output
    model = InferenceModel.objects.get(slug="mine")
    assert model.is_installed
    assert model.spec.path == models_folder / "mine" / "mine.onnx"


def test_of_a_folder_the_variant_selects_the_file(db: None, tmp_path: Path) -> None:
    folder = tmp_path / "carried"
    folder.mkdir()
    (folder / "a.onnx").write_bytes(tiny_networks.lama(64))
    output_of("pull_model", "lama", "--yes", f"--from={folder / 'a.onnx'}")
    (folder / "b.onnx").write_bytes(tiny_networks.lama(128))
    with pytest.raises(CommandError, match=r"Exactly one \.onnx file is needed"):
        output_of("add_model", "mine", "--family=lama", f"--from={folder}")
    output_of("add_model", "mine", "--family=lama", f"--from={folder}", "--variant=b")
    path = InferenceModel.objects.get(slug="mine").spec.path
    assert path is not None
    assert path.name == "b.onnx"
    (folder / "c.pt").write_bytes(b"x")
    with pytest.raises(CommandError, match="may hold a pickle"):
        output_of("add_model", "third", "--family=lama", f"--from={folder}", "--variant=b")


@pytest.mark.parametrize(
    ("family", "data", "problem"),
    [
        ("migan", tiny_networks.lama(64), "not of the family migan"),
        ("lama", b"\x80\x04]q\x00.", "no .onnx file, or it is damaged"),
        ("sd", tiny_networks.lama(64), "is no .safetensors file"),
    ],
)
def test_an_invalid_network_is_not_added(db: None, tmp_path: Path, family: str, data: bytes, problem: str) -> None:
    path = tmp_path / "mine.onnx"
    path.write_bytes(data)
    with pytest.raises(CommandError, match=problem):
        output_of("add_model", "mine", f"--family={family}", f"--from={path}")
    assert not InferenceModel.objects.filter(slug="mine").exists()
