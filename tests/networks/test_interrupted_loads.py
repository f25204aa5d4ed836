"""Files during whose load the process crashed three times in a row are not loaded again until they change."""

from __future__ import annotations

import os
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from inpainting.catalog.specs import ModelSpec
from inpainting.core.errors import EngineFailed
from inpainting.networks import interrupted_loads
from inpainting.networks.files import fingerprint
from inpainting.networks.interrupted_loads import MAX_CRASHES, count_crashes, is_refused, recorded
from inpainting.networks.network_cache import NetworkCache

PROCESS_IDS = count(1)


class Machine:
    """A machine with one model, `lama`, whose processes end while they load it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.monkeypatch = folder, monkeypatch
        self.path = folder / "network.onnx"
        self.path.write_bytes(b"weights")
        self.model = ModelSpec(slug="lama", label="LaMa", family="lama", path=self.path)
        self.ended: list[object] = []

    def load(self) -> str:
        network: str = NetworkCache().get(lambda spec, path: "a network", self.model, self.path)
        return network

    def end_while_loading(self) -> str:
        """Return the name of the process."""
        worker = f"host:{next(PROCESS_IDS)}:parent"
        with self.monkeypatch.context() as process:
            process.setattr(interrupted_loads, "WORKER", worker)
            load = recorded(self.model, fingerprint(self.path))
            load.__enter__()
        self.ended.append(load)  # else it would be ended here as a load that failed
        return worker

    def crash(self, times: int = 1) -> None:
        for _ in range(times):
            worker = self.end_while_loading()
            assert count_crashes([worker]) == {worker}


@pytest.fixture
def machine(tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Machine:
    settings.PARENT, settings.DATA_DIR = "parent", tmp_path
    return Machine(tmp_path, monkeypatch)


def test_after_three_crashes_in_a_row_it_is_refused_until_its_files_change(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    machine.crash(MAX_CRASHES)
    assert is_refused("lama", machine.path)
    assert "lama is not loaded: the server crashed 3 times in a row while loading it." in caplog.text
    with pytest.raises(EngineFailed, match=r"^LaMa is not loaded: the server crashed 3 times in a row") as refusal:
        machine.load()
    assert refusal.value.code == "model_crashed_worker"
    os.utime(machine.path, (1, 1))
    assert not is_refused("lama", machine.path)
    assert machine.load() == "a network"


def test_a_load_that_succeeds_clears_the_count(machine: Machine) -> None:
    for _ in range(MAX_CRASHES):
        machine.crash(MAX_CRASHES - 1)
        assert machine.load() == "a network"


def test_a_process_that_was_killed_counts_nothing_and_leaves_nothing(machine: Machine) -> None:
    for _ in range(MAX_CRASHES):
        machine.end_while_loading()
        assert count_crashes(["host:999999:parent"]) == set()
    assert not is_refused("lama", machine.path)
    assert not list(interrupted_loads.folder().iterdir())


def test_the_loads_of_other_processes_of_the_machine_stay(machine: Machine, settings: Any) -> None:
    settings.IS_ALONE = False
    other = machine.end_while_loading()
    assert count_crashes([]) == set()
    assert count_crashes([other]) == {other}


def test_a_load_that_fails_is_no_crash(machine: Machine) -> None:
    def fail(spec: ModelSpec, path: Path) -> None:
        raise EngineFailed("the file is damaged")

    for _ in range(MAX_CRASHES):
        with pytest.raises(EngineFailed, match="damaged"):
            NetworkCache().get(fail, machine.model, machine.path)
    assert not list(interrupted_loads.folder().iterdir())


def test_a_folder_that_cannot_be_written_stops_no_load(machine: Machine) -> None:
    interrupted_loads.folder().write_text("a file in its place")
    assert machine.load() == "a network"


def test_a_process_without_a_parent_records_nothing(machine: Machine, settings: Any) -> None:
    """A command of manage.py: no other process is told of its crash."""
    settings.PARENT = ""
    machine.end_while_loading()
    assert not interrupted_loads.folder().exists()
