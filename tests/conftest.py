"""Shared fixtures: the users alice and bob, their API keys, and small images."""

from __future__ import annotations

import gc
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from django.conf import settings
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.core.management.color import no_style
from django.db import connection
from django.test import Client, TransactionTestCase
from django.test import client as django_client
from django.utils import translation
from numpy.typing import NDArray

from accounts.audit import AuditEntry
from accounts.models import ApiKey, User
from inpainting.apps import add_shipped_models
from inpainting.core.adapter_uses import CONDITIONING_IMAGES
from inpainting.core.image import CanonicalImage
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.engines import registry
from inpainting.engines.diffusion.engine import Diffusion, Options
from inpainting.generations.submit import Submission, submit
from inpainting.models import Batch, BatchItem, Generation, InferenceModel, undeleted_file
from inpainting.worker import own_threads, watchdog
from inpainting.worker.queue.claim_gate import claim_gate, no_problems
from tests.support import scratch, strategies
from tests.support.image_host import image_host
from tests.support.installation import Installation, migrate_database
from tests.support.long_tests import mark_long_tests

ALLOWED_ORIGIN = "https://front.example"
"""Scripts of this origin may use the API of `site`."""

SHARED_SERVERS = {"site", "open_site"}
"""The fixtures with a server for all tests of a process."""

closing_iterator = django_client.closing_iterator_wrapper
# Without the generator's own `close`: a streaming response would call it at its end, while the generator runs, and
# Python 3.11 then now and then takes a counter of the interpreter for an instruction, and crashes.
django_client.closing_iterator_wrapper = lambda iterable, close: chain(closing_iterator(iterable, close))

pytest.register_assert_rewrite("tests.contracts")
strategies.load_profiles()


def pytest_collection() -> None:
    """Collect no garbage while modules are imported: a quarter of the time would be spent searching for it."""
    gc.disable()


@pytest.hookimpl(tryfirst=True)  # before tests are chosen by their marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what takes long, and run the modules that share a server first and one after another.

    So one process of pytest-xdist starts the server: each gets a part of the list, and one without work takes from the
    ends of the others' parts. A server takes 5 seconds of processor time to start, and 1 in a minute without requests.
    """
    mark_long_tests(items)
    sharing = {item.path for item in items if not SHARED_SERVERS.isdisjoint(getattr(item, "fixturenames", ()))}
    items.sort(key=lambda item: item.path not in sharing)


def pytest_collection_finish() -> None:
    """Leave the imported modules and the collected tests out of all later garbage collections, and collect rarely.

    Evicting a diffusion model starts a collection, which would take a second with them. The default thresholds cost a
    third of the processor time of all tests: what remains is so little that each quarter more starts a full collection.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)
    gc.enable()


@pytest.fixture(scope="session")
def django_db_keepdb(django_db_keepdb: bool, django_db_modify_db_settings: None) -> bool:
    """Let pytest-xdist's workers start from copies of the SQLite database that is migrated once for the test run."""
    if connection.vendor != "sqlite" or "PYTEST_XDIST_WORKER" not in os.environ:
        return django_db_keepdb
    migrated = scratch.built_once("migrated", migrate_database) / "dreamlayer.sqlite3"
    shutil.copyfile(migrated, connection.settings_dict["TEST"]["NAME"])
    return True


@pytest.fixture(scope="session", autouse=True)
def _flush() -> Iterator[None]:
    """Flush the database after tests with transactions as Django does, with three differences.

    Content types and permissions stay: creating them again takes longer than most tests. So do the shipped models where
    the test changed none, on which the flush would spend most of its time. And the audit log is emptied, on SQLite by
    DELETE, which its triggers refuse.
    """
    migration = import_module("accounts.migrations.0001_squashed_0004")
    always_kept = {ContentType._meta.db_table, Permission._meta.db_table}
    shipped: list[tuple[Any, ...]] = []

    def flush(case: TransactionTestCase) -> None:
        rows = list(InferenceModel.objects.order_by("pk").values_list())
        kept = always_kept | ({InferenceModel._meta.db_table} if rows == shipped else set())
        has_entries = connection.vendor == "sqlite" and AuditEntry.objects.exists()
        if has_entries:
            with connection.schema_editor() as editor:
                migration.drop_triggers(None, editor)
        tables = set(connection.introspection.django_table_names(only_existing=True, include_views=False)) - kept
        connection.ops.execute_sql_flush(connection.ops.sql_flush(no_style(), sorted(tables)))
        if has_entries:
            with connection.schema_editor() as editor:
                migration.create_triggers(None, editor)
        if rows != shipped:
            add_shipped_models()
            shipped[:] = InferenceModel.objects.order_by("pk").values_list()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", flush)
        yield


@pytest.fixture(scope="session", autouse=True)
def _no_fsync() -> Iterator[None]:
    """Do not wait until files are on the disk: only a power failure would show the difference."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def _no_answer_names_a_path_of_the_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Fail where an answer in JSON names a folder of the server: of the program, of Python, or of a test's data.

    So every error that a test receives is looked at.
    """
    folders = [os.fsencode(folder) for folder in (settings.BASE_DIR, sys.prefix, tmp_path_factory.getbasetemp())]
    send = Client.request

    def request(client: Client, **environment: Any) -> Any:
        response = send(client, **environment)
        if response.get("Content-Type", "").startswith("application/") and not response.streaming:
            named = [folder for folder in (*folders, os.fsencode(settings.DATA_DIR)) if folder in response.content]
            assert not named, (named, response.content)
        return response

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Client, "request", request)
        yield


@pytest.fixture(autouse=True)
def _not_stopping(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reset the stop flags between tests."""
    monkeypatch.setattr(watchdog, "draining", threading.Event())
    monkeypatch.setattr(watchdog, "stopping", threading.Event())


@pytest.fixture(autouse=True)
def _claims_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget between tests that work failed by a fault of the surroundings, and that a test has started workers."""
    monkeypatch.setattr(claim_gate, "find_problems", no_problems)
    claim_gate.reset()


@pytest.fixture(autouse=True)
def _speaks_english() -> Iterator[None]:
    """Forget after a test the language of the last request, which the test client leaves active."""
    yield
    translation.deactivate()


@pytest.fixture(autouse=True)
def _storage_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget between tests that a storage did not answer."""
    monkeypatch.setattr(undeleted_file, "_paused_until", float("-inf"))


@pytest.fixture(autouse=True, scope="module")
def _models_are_freed() -> Iterator[None]:
    """Free the models after a module: the thread of a batcher never ends, and its cache would keep them, gigabytes."""
    yield
    batchers = [thread._target.__self__ for thread in threading.enumerate() if thread.name == "diffusion"]  # type: ignore[attr-defined]
    for batcher in batchers:
        batcher.cache.memory.models.clear()
        batcher.cache.memory.adapters.clear()
    if batchers:
        gc.collect()


@pytest.fixture
def polled_work_runs_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The poller runs what waits on its own thread and returns when it has ended."""
    monkeypatch.setattr(own_threads, "start", own_threads.run)


@pytest.fixture
def diffusion_requests(
    settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, db: None
) -> list[InpaintRequest]:
    """The requests that the diffusion engine received. It is a fake; its models are those of
    `tests.support.fake_diffusion`."""
    from tests.support import fake_diffusion

    settings.MODELS_DIR = tmp_path / "models"
    fake_diffusion.install_models()
    return fake_diffusion.record_requests(monkeypatch)


@pytest.fixture
def alice(db: None) -> User:
    return User.objects.create_user("alice@example.com", "correct horse")


@pytest.fixture
def bob(db: None) -> User:
    return User.objects.create_user("bob@example.com", "battery staple")


@pytest.fixture
def alices_key(alice: User) -> str:
    return ApiKey.issue(alice, name="alice's program")[1]


@pytest.fixture
def bobs_key(bob: User) -> str:
    return ApiKey.issue(bob, name="bob's program")[1]


@pytest.fixture
def alices_program(alices_key: str) -> Client:
    """A client that sends alice's key."""
    return Client(headers={"X-API-Key": alices_key})


@pytest.fixture
def bobs_program(bobs_key: str) -> Client:
    return Client(headers={"X-API-Key": bobs_key})


@pytest.fixture
def models_folder(settings: Any, tmp_path: Path) -> Path:
    """The models folder, which does not exist yet."""
    settings.MODELS_DIR = tmp_path / "models"
    return Path(settings.MODELS_DIR)


@pytest.fixture
def models_dir(models_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The models folder; the diffusion engine runs on the CPU in float32."""
    engine = Diffusion(Options(device="cpu", precision="float32", max_rows=32))
    monkeypatch.setitem(registry.engines(), "diffusion", engine)
    return models_folder


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A running server without models, shared by all tests that do not change its settings or processes."""
    site = Installation(
        tmp_path_factory.mktemp("site"),
        DREAMLAYER_LOG_LEVEL="INFO",
        DREAMLAYER_CORS_ORIGINS=ALLOWED_ORIGIN,
        DREAMLAYER_DIFFUSION_WARM_UP="unknown",
    )
    site.migrate_with_key()
    with site.serving():
        yield site


@pytest.fixture(scope="session")
def site_key(site: Installation) -> str:
    """The API key of a user of `site`, shared by its tests."""
    return site.key


@pytest.fixture(scope="session")
def image_port() -> Iterator[int]:
    """The port of a web server with images. `open_site` may fetch from it, and scripts of its pages may call that."""
    with image_host() as port:
        yield port


@pytest.fixture(scope="session")
def open_site(tmp_path_factory: pytest.TempPathFactory, image_port: int) -> Iterator[Installation]:
    """A running server without models that needs no key, for published examples as they are printed."""
    site = Installation(
        tmp_path_factory.mktemp("open-site"),
        DREAMLAYER_ANONYMOUS_API="1",
        DREAMLAYER_CORS_ORIGINS=f"http://127.0.0.1:{image_port}",
        DREAMLAYER_ALLOWED_NETWORKS="127.0.0.1/32",
        DREAMLAYER_ALLOWED_PORTS=str(image_port),
        LOAD_SD_INPAINT="true",
    )
    site.migrate_with_key()
    with site.serving():
        yield site


@pytest.fixture(scope="session")
def open_site_key(open_site: Installation) -> str:
    """The API key of a user of `open_site`."""
    return open_site.key


@pytest.fixture
def photo() -> NDArray[np.uint8]:
    """[64, 96, 3] RGB: a smooth scene with some texture, deterministic."""
    rng = np.random.default_rng(7)
    rows, columns = np.mgrid[0:64, 0:96]
    base = np.stack([rows * 3, columns * 2, 255 - rows - columns], axis=-1)
    return np.clip(base + rng.integers(-6, 7, base.shape), 0, 255).astype(np.uint8)


@pytest.fixture
def hole() -> NDArray[np.uint8]:
    """[64, 96] mask in the internal polarity (255 = repaint): a disc."""
    mask = np.zeros((64, 96), np.uint8)
    cv2.circle(mask, (50, 30), 10, 255, -1)
    return mask


@pytest.fixture
def photo_png(photo: NDArray[np.uint8]) -> bytes:
    return png(photo)


@pytest.fixture
def mask_png(hole: NDArray[np.uint8]) -> bytes:
    """The mask in the polarity of the native API: black is repainted, white is kept."""
    return png(255 - hole)


@pytest.fixture
def generate(
    photo: NDArray[np.uint8], hole: NDArray[np.uint8], django_capture_on_commit_callbacks: Callable[..., object]
) -> Callable[..., Generation]:
    """generate(owner) -> a generation that has run to its end. It takes settings and conditioning images."""

    def make(
        owner: User,
        *,
        prompt: str = "",
        seed: int = 5,
        run: bool = True,
        engine: str = "auto",
        **more: Any,
    ) -> Generation:
        images = {name: more.pop(name) for name in CONDITIONING_IMAGES if name in more}
        request = InpaintRequest(CanonicalImage(photo), hole, PaintSettings(prompt=prompt, seed=seed, **more), images)
        with django_capture_on_commit_callbacks(execute=run):  # type: ignore[attr-defined]
            generation = submit(request, Submission(owner, engine=engine, source_name="photo.png"))
        generation.refresh_from_db()
        return generation

    return make


@pytest.fixture
def batch_of() -> Callable[..., Batch]:
    """batch_of(generation, …) -> a batch with these generations as items."""

    def make(*generations: Generation) -> Batch:
        batch = Batch.objects.create(owner=generations[0].owner)
        for index, generation in enumerate(generations):
            BatchItem.objects.create(batch=batch, index=index, name=f"photo-{index}.png", generation=generation)
        return batch

    return make


def png(pixels: NDArray[np.uint8]) -> bytes:
    """PNG bytes of grey, RGB or RGBA pixels."""
    if pixels.ndim == 3:
        pixels = pixels[:, :, [2, 1, 0, *range(3, pixels.shape[2])]]
    done, data = cv2.imencode(".png", pixels)
    assert done
    return data.tobytes()
