"""The model of DREAMLAYER_DIFFUSION_WARM_UP or LOAD_SD_INPAINT is loaded before the first generation."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from dreamlayer_site.management.commands import serve
from inpainting.core import compiled
from inpainting.engines import registry
from inpainting.engines.diffusion.serving.loading import loads
from inpainting.worker import warm_up as warm_up_module
from inpainting.worker.warm_up import start_warming_up

pytestmark = pytest.mark.django_db(transaction=True)  # another thread reads the catalog


def warm_up() -> None:
    thread = start_warming_up()
    assert thread is not None
    thread.join()


@pytest.mark.parametrize("load_sd_inpaint", [False, True])
def test_it_is_loaded_beside_the_thread_of_the_device(
    load_sd_inpaint: bool, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch", reason="diffusion is not installed")
    from inpainting.engines.diffusion.engine import Diffusion, Options
    from inpainting.engines.diffusion.serving.loading import model_loading
    from tests.support import tiny_models

    settings.MODELS_DIR, settings.LOAD_SD_INPAINT = tmp_path / "models", load_sd_inpaint
    settings.DIFFUSION_WARM_UP = "" if load_sd_inpaint else "tiny"
    folder = tiny_models.saved(tmp_path / "tiny").path
    call_command("add_model", "tiny", "--family=sd", f"--from={folder}")
    engine = Diffusion(Options(device="cpu", precision="float32"))
    monkeypatch.setitem(registry.engines(), "diffusion", engine)
    loading: list[str] = []
    load = model_loading.load

    def noted(*arguments: Any) -> Any:
        loading.append(threading.current_thread().name)
        return load(*arguments)

    monkeypatch.setattr(loads, "load", noted)
    warm_up()
    for _ in range(3000):
        if engine.batcher.cache.models:
            break
        time.sleep(0.01)
    assert engine.batcher.cache.models
    assert loading == ["loading_0"]


def test_a_model_that_cannot_be_loaded_is_a_warning(settings: Any, caplog: pytest.LogCaptureFixture) -> None:
    for slug in ("nothing", "sd15"):
        settings.DIFFUSION_WARM_UP = slug
        with caplog.at_level(logging.WARNING):
            warm_up()
    messages = [record.message for record in caplog.records if "DREAMLAYER_DIFFUSION_WARM_UP" in record.message]
    assert "the models are: sd15-inpainting" in messages[0]
    assert "pull_model sd15" in messages[1]


def test_without_a_model_load_sd_inpaint_is_a_warning(settings: Any, caplog: pytest.LogCaptureFixture) -> None:
    settings.DIFFUSION_WARM_UP, settings.LOAD_SD_INPAINT = "", True
    warm_up()
    assert "LOAD_SD_INPAINT: No diffusion model is installed" in caplog.text


def test_without_the_setting_nothing_is_loaded(settings: Any) -> None:
    settings.DIFFUSION_WARM_UP = ""
    assert start_warming_up() is None


@pytest.mark.parametrize(("queues", "warms"), [(["cpu", "gpu"], True), (["cpu", "hooks"], False)])
def test_of_separate_workers_the_gpu_worker_loads_it(
    monkeypatch: pytest.MonkeyPatch, settings: Any, queues: list[str], warms: bool
) -> None:
    calls: list[bool] = []
    settings.QUEUES, settings.IS_ALONE = queues, False
    monkeypatch.setattr(serve, "start_workers", lambda queue, count: None)
    monkeypatch.setattr(serve, "start_poller", lambda *others, is_woken: None)
    monkeypatch.setattr(serve, "start_warming_up", lambda: calls.append(True))
    serve.start_working()
    assert bool(calls) is warms


@pytest.mark.parametrize(("role", "compiles"), [("worker", True), ("all", False)])
def test_a_worker_process_loads_the_machine_code_of_quick_fill(
    monkeypatch: pytest.MonkeyPatch, settings: Any, role: str, compiles: bool
) -> None:
    calls: list[bool] = []
    settings.QUEUES, settings.IS_ALONE, settings.ROLE = ["cpu"], False, role
    monkeypatch.setattr(serve, "start_workers", lambda queue, count: None)
    monkeypatch.setattr(serve, "start_poller", lambda *others, is_woken: None)
    monkeypatch.setattr(serve, "start_compiling", lambda: calls.append(True))
    serve.start_working()
    assert bool(calls) is compiles


def test_without_usable_machine_code_quick_fill_runs_without(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise EOFError

    monkeypatch.setattr(compiled, "AVAILABLE", True)
    monkeypatch.setattr(warm_up_module, "compile_kernels", fail)
    warm_up_module.start_compiling().join()
    assert not compiled.AVAILABLE
    assert "quick-fill runs without machine code" in caplog.text
