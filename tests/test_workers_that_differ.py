"""Workers with different model files, and with cards of different sizes, on one PostgreSQL: real processes."""

from __future__ import annotations

import os
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import postgres, tiny_networks
from tests.support.installation import Installation
from tests.support.scaled_site import Site, ids
from tests.support.services import Redis, redis_server

pytestmark = pytest.mark.full
SENT = 8


@pytest.fixture(scope="module")
def redis() -> Iterator[Redis]:
    if postgres.binaries() is None:
        pytest.skip("PostgreSQL is not installed")
    with redis_server() as server:
        yield server


@pytest.fixture
def site(redis: Redis, tmp_path: Path) -> Site:
    (tmp_path / "site").mkdir()
    few = {"DREAMLAYER_WORKERS": "1", "DREAMLAYER_DIFFUSION_AT_ONCE": "1"}
    return Site(
        tmp_path / "site",
        redis_url=redis.url,
        s3_url=f"file://{tmp_path}/pictures",
        database_url=postgres.start(),
        environment=few,
    )


@pytest.fixture
def erasing(site: Site, tmp_path: Path) -> tuple[Installation, Installation]:
    """Two workers of the queue `cpu`, each with a folder of models; only the first one has a network that erases."""
    pytest.importorskip("onnxruntime", reason="the erase engine is not installed")
    (network := tmp_path / "lama.onnx").write_bytes(tiny_networks.lama(64))
    first, second = (
        site.process("worker", "--queues", "cpu", DREAMLAYER_MODELS=str(tmp_path / name))
        for name in ("with", "without")
    )
    first.manage("pull_model", "lama", "--yes", f"--from={network}")
    (tmp_path / "without").mkdir()
    return first, second


def send(site: Site, photo_png: bytes, mask_png: bytes, **fields: object) -> str:
    status, body = site.web.img2img(site.key, photo_png, mask_png, prefer="respond-async", **fields)
    assert status == 202, body
    return str(body["url"])


def worker_of(site: Site, process: Installation) -> str:
    """The name of a worker's row."""
    assert process.process is not None
    (child,) = process.children_of(process.process.pid)
    ((name,),) = site.rows("SELECT name FROM inpainting_worker WHERE name LIKE %s", f"%:{child}:%")
    return str(name)


def painted_by(site: Site, urls: list[str]) -> Counter[str]:
    """How many of these generations each worker has painted."""
    rows = site.rows("SELECT worker FROM inpainting_generation WHERE id = ANY(%s)", ids(urls))
    return Counter(name for (name,) in rows)


def status_of(site: Site, url: str) -> str:
    ((status,),) = site.rows("SELECT status FROM inpainting_generation WHERE id = ANY(%s)", ids([url]))
    return str(status)


def has(site: Site, name: str, condition: Callable[[list[str], dict[str, str]], bool]) -> bool:
    """Whether the row of a worker fulfils a condition of what it can and cannot load."""
    ((loadable, lacking),) = site.rows("SELECT loadable, lacking FROM inpainting_worker WHERE name = %s", name)
    return condition(loadable, lacking)


def test_a_worker_without_the_model_claims_nothing_of_it(
    site: Site, erasing: tuple[Installation, Installation], photo_png: bytes, mask_png: bytes
) -> None:
    """Also while the one that has it is drained, or killed and started again."""
    with site.serving(*erasing):
        painter, other = (worker_of(site, process) for process in erasing)
        urls = [send(site, photo_png, mask_png, engine="erase", prompt="") for _ in range(SENT)]
        plain = [send(site, photo_png, mask_png, engine="quick-fill", prompt="") for _ in range(SENT)]
        assert site.all_succeed_at_the_first_attempt([*urls, *plain])
        assert painted_by(site, urls) == {painter: SENT}
        assert other in painted_by(site, plain), "it stood idle"

        assert "claims no more work" in site.web.manage("drain", painter)
        waiting = send(site, photo_png, mask_png, engine="erase", prompt="")
        plain = [send(site, photo_png, mask_png, engine="quick-fill", prompt="") for _ in range(SENT)]
        assert site.all_succeed_at_the_first_attempt(plain)
        assert painted_by(site, plain) == {other: SENT}
        assert status_of(site, waiting) == "queued"
        assert "claims work again" in site.web.manage("drain", painter, "--resume")
        site.wait_for_success(waiting)

        assert erasing[0].process is not None
        for child in erasing[0].children_of(erasing[0].process.pid):
            os.kill(child, signal.SIGKILL)
        waiting = send(site, photo_png, mask_png, engine="erase", prompt="")
        site.wait_for_success(waiting)
        assert site.rows("SELECT count(*) FROM inpainting_worker") == [(2,)], "the next child has the row of the last"


def test_a_damaged_file_is_left_to_the_other_worker_and_fails_where_none_can_load_it(
    site: Site, erasing: tuple[Installation, Installation], photo_png: bytes, mask_png: bytes, tmp_path: Path
) -> None:
    shutil.copytree(tmp_path / "with" / "lama", tmp_path / "without" / "lama")
    damage(tmp_path / "without")
    with site.serving(*erasing):
        painter, damaged = (worker_of(site, process) for process in erasing)
        urls = [send(site, photo_png, mask_png, engine="erase", prompt="") for _ in range(SENT)]
        while not has(site, damaged, lambda loadable, lacking: "lama" in lacking):  # it has met one
            assert site.all_succeed_at_the_first_attempt(urls)
            urls += [send(site, photo_png, mask_png, engine="erase", prompt="") for _ in range(SENT)]
        assert site.all_succeed_at_the_first_attempt(urls)
        assert set(painted_by(site, urls)) == {painter}

        damage(tmp_path / "with")
        url = send(site, photo_png, mask_png, engine="erase", prompt="")
        site.web.wait_until(lambda: status_of(site, url) == "failed")
        ((message,),) = site.rows("SELECT error_message FROM inpainting_generation WHERE id = ANY(%s)", ids([url]))
        assert message.startswith("lama.onnx is no .onnx file")
        assert message.endswith("No other worker that runs can load it.")


def damage(models: Path) -> None:
    """Cut off the network's file in a folder of models."""
    (file,) = (models / "lama").glob("*.onnx")
    file.write_bytes(file.read_bytes()[:100])


def test_a_model_that_is_too_large_for_one_card_is_painted_by_the_larger_one(
    site: Site, tmp_path: Path, photo_png: bytes, mask_png: bytes
) -> None:
    """24 and 80 GB, as DREAMLAYER_DIFFUSION_MEMORY_MB says."""
    pytest.importorskip("torch", reason="the diffusion engine is not installed")
    from tests.support import tiny_models

    tiny_models.sd(tmp_path).save_pretrained(tmp_path / "tiny")
    models = {"DREAMLAYER_MODELS": str(tmp_path / "models"), "DREAMLAYER_DIFFUSION_DEVICE": "cpu"}
    small, large = (
        site.process("worker", "--queues", "gpu", DREAMLAYER_DIFFUSION_MEMORY_MB=memory, **models)
        for memory in ("24000", "80000")
    )
    for slug, memory_bytes in (("small", 4 * 10**9), ("large", 40 * 10**9)):
        small.manage("add_model", slug, "--family", "sd", "--from", str(tmp_path / "tiny"))
        sql = "UPDATE inpainting_inferencemodel SET memory_bytes = %s WHERE slug = %s RETURNING slug"
        assert site.rows(sql, memory_bytes, slug) == [(slug,)]
    with site.serving(small, large):
        names = [worker_of(site, process) for process in (small, large)]
        fields = {"model": "large", "prompt": "a lawn", "steps": 1}
        urls = [send(site, photo_png, mask_png, **fields) for _ in range(SENT)]
        assert site.all_succeed_at_the_first_attempt(urls)
        assert painted_by(site, urls) == {names[1]: SENT}
        assert has(site, names[0], lambda loadable, lacking: (loadable, [*lacking]) == (["small"], ["large"]))
        assert has(site, names[1], lambda loadable, lacking: (loadable, lacking) == (["large", "small"], {}))
