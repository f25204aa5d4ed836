"""LoRAs are downloaded as models are: one file, checked against its hash and inspected before it is installed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

pytest.importorskip("huggingface_hub", reason="a light installation has no hub library")
pytest.importorskip("torch", reason="diffusion is not installed")

import torch
from safetensors.torch import save

from inpainting.catalog.lookup import Catalog
from inpainting.models import Lora
from tests.catalog.store.conftest import PutOnline
from tests.support import tiny_loras, tiny_models
from tests.support.hub import COMMIT, REPO, Hub, serving

pytestmark = pytest.mark.django_db
LCM, STYLE = "lcm.safetensors", "style.safetensors"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    pipeline = tiny_models.sd(tmp_path_factory.mktemp("words"))
    contents = {name: save(tiny_loras.weights(pipeline, seed=seed)) for seed, name in enumerate((LCM, STYLE))}
    return {**contents, "README.md": b"---\nlicense: openrail++\n---\n"}


@pytest.fixture
def hub(files: dict[str, bytes], put_online: PutOnline) -> Iterator[Hub]:
    with serving(dict(files)) as hub:
        put_online(hub)
        yield hub


def add(*more: str) -> str:
    output = StringIO()
    call_command("add_lora", "quick", "--family=sd", f"--repo={REPO}", "--kind=lcm", *more, stdout=output)
    return output.getvalue()


def refusal(*more: str) -> str:
    with pytest.raises(CommandError) as caught:
        add(*more)
    return str(caught.value)


def nothing_is_left(models_dir: Path) -> bool:
    return not Lora.objects.exists() and not [path for path in models_dir.rglob("*") if path.is_file()]


def test_the_command_describes_the_lora_checks_its_hash_and_installs_it(hub: Hub, models_dir: Path) -> None:
    output = add("--yes", f"--file={LCM}")
    assert all(words in output for words in (LCM, REPO, COMMIT, "creativeml-openrail-m", "quick is ready"))
    (lora,) = Catalog().loras
    assert (lora.repo, lora.revision, lora.licence) == (REPO, COMMIT, "creativeml-openrail-m")
    assert lora.path.read_bytes() == hub.files[LCM]
    assert (lora.sha256, lora.size_bytes) == (hashlib.sha256(hub.files[LCM]).hexdigest(), len(hub.files[LCM]))
    assert lora.spec.few_steps is not None


def test_a_download_resumes_after_a_cut_connection(hub: Hub, models_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    hub.cuts[LCM] = [1000]
    add("--yes", f"--file={LCM}")
    assert Catalog().loras[0].path.read_bytes() == hub.files[LCM]
    assert [name for name, _ in hub.requested] == [LCM, LCM]


def test_without_confirmation_no_lora_is_downloaded(
    hub: Hub, models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", StringIO())
    assert "--yes" in refusal(f"--file={LCM}")
    assert not hub.requested
    assert nothing_is_left(models_dir)


def test_an_ambiguous_file_is_refused(hub: Hub, models_dir: Path) -> None:
    assert f"found: {LCM}, {STYLE}" in refusal("--yes")
    assert "named with --file" in refusal("--yes", "--file=other.safetensors")
    del hub.files[STYLE]
    add("--yes")
    with pytest.raises(CommandError, match="--file and --revision need --repo"):
        call_command("add_lora", "new", "--family=sd", "--from=x.safetensors", "--file=y")


def test_a_wrong_hash_and_a_file_that_is_no_lora_are_refused(hub: Hub, models_dir: Path) -> None:
    hub.lies[LCM] = hub.files[STYLE]
    assert "its hash differs" in refusal("--yes", f"--file={LCM}")
    assert nothing_is_left(models_dir)
    hub.files["endless.safetensors"] = save(
        {"unet.a.to_q.lora_A.weight": torch.full((4, 8), torch.inf), "unet.a.to_q.lora_B.weight": torch.ones(8, 4)}
    )
    assert "finite" in refusal("--yes", "--file=endless.safetensors")

    assert nothing_is_left(models_dir)


def test_a_lora_over_the_limit_is_not_downloaded(hub: Hub, models_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inpainting.catalog.store.lora_store.MAX_LORA_BYTES", 100)
    assert "is larger than" in refusal("--yes", f"--file={LCM}")
    assert not hub.requested


def test_a_file_or_repository_missing_on_the_hub_is_reported(hub: Hub, models_dir: Path) -> None:
    assert "revision" in refusal("--yes", f"--file={LCM}", "--revision=0000000000000000000000000000000000000000")
    with pytest.raises(CommandError, match="is no repository on the hub"):
        call_command("add_lora", "new", "--family=sd", "--repo=../secrets", "--yes", stdout=StringIO())
