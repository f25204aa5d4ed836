"""`serve --devices`: which devices a list names, and the one port that answers for all their processes."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import closing
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any

import pytest
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from dreamlayer_site.server import devices, joined_monitoring, supervisor
from dreamlayer_site.server.devices import find_devices
from dreamlayer_site.server.joined_monitoring import JoinedMonitoring, join_samples
from inpainting.networks.device.gpus import Gpu

GB = 2**30
TOKEN = "Bearer of-prometheus"


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> list[Gpu]:
    """The GPUs of the machine."""
    installed = [Gpu("GPU-a", 24 * GB), Gpu("GPU-b", 80 * GB)]
    monkeypatch.setattr(devices, "visible_gpus", lambda: tuple(installed))
    return installed


# The list


def test_each_gpu_is_the_only_one_that_its_process_sees(gpus: list[Gpu]) -> None:
    assert find_devices("all") == find_devices("cuda:0, cuda:1")
    (second,) = find_devices("cuda:1")
    assert second.name == "cuda:1"
    assert second.environment == {
        "CUDA_VISIBLE_DEVICES": "GPU-b",
        "DREAMLAYER_DIFFUSION_DEVICE": "cuda",
        "DREAMLAYER_DEVICE_NAME": "cuda:1",
        "DREAMLAYER_DEVICE_COUNT": "1",
    }


def test_processes_on_the_cpu_share_the_machine(gpus: list[Gpu]) -> None:
    found = find_devices("cpu,cpu:1,cuda")
    assert [device.name for device in found] == ["cpu:0", "cpu:1", "cuda:0"]
    assert {device.environment["DREAMLAYER_DEVICE_COUNT"] for device in found} == {"3"}
    assert found[1].environment["DREAMLAYER_DIFFUSION_DEVICE"] == "cpu"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cuda:2", "there is no cuda:2; of GPUs that CUDA would show, nvidia-smi tells of cuda:0, cuda:1"),
        ("cuda:0,cuda:0", "cuda:0 is named twice"),
        ("all,cuda:1", "cuda:1 is named twice"),
        ("cpu,cpu:0", "cpu:0 is named twice"),
        ("gpu0", "“gpu0” is no device: there are all, cuda:0"),
        ("cuda:-1", "“cuda:-1” is no device"),
        ("cuda:١", "is no device"),
        ("cuda:0,", "“” is no device"),
        ("", "“” is no device"),
    ],
)
def test_a_wrong_list_says_what_is_wrong(gpus: list[Gpu], text: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        find_devices(text)


def test_all_needs_a_gpu(gpus: list[Gpu]) -> None:
    gpus.clear()
    for text, message in (("all", "“all” stands for NVIDIA GPUs, and nvidia-smi tells of none"), ("cuda", "of none")):
        with pytest.raises(ValueError, match=message):
            find_devices(text)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--role", "worker", "--devices", "cpu,cpu"], "--devices cpu,cpu: cpu:0 is named twice.\n"),
        (["--devices", "cpu"], "--devices is for workers: add --role worker.\n"),
        (["--role", "web", "--devices", "cpu"], "--devices is for workers: add --role worker.\n"),
    ],
)
def test_nothing_starts_with_wrong_devices(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(supervisor, "listen", lambda host, port: pytest.fail("it starts"))
    assert supervisor.supervise(arguments) == supervisor.INVALID_SETTINGS
    assert capsys.readouterr().err == message


# One port


class Served(ThreadingHTTPServer):
    """A child that answers health checks with a status and a body, and metrics to Prometheus alone."""

    def __init__(self, model: str) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.status, self.state = 200, {"status": "ok"}
        registry = CollectorRegistry()
        Counter("evictions", "Evicted models.", ["model"], registry=registry).labels(model).inc()
        Histogram("step_seconds", "Steps.", registry=registry, buckets=(1, 2)).observe(1.5)
        self.metrics = generate_latest(registry)
        Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()


class Answers(BaseHTTPRequestHandler):
    server: Served

    def do_GET(self) -> None:
        is_refused = self.path == "/metrics" and self.headers["Authorization"] != TOKEN
        self.send_response(401 if is_refused else self.server.status)
        if is_refused:
            self.send_header("WWW-Authenticate", "Bearer")
        self.send_header("Content-Type", CONTENT_TYPE_LATEST)
        self.end_headers()
        self.wfile.write(self.server.metrics if self.path == "/metrics" else json.dumps(self.server.state).encode())

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""


@pytest.fixture
def children() -> Iterator[dict[str, Served]]:
    served = {"cuda:0": Served("sd15"), "cuda:3": Served('a "b" {c} \\')}
    yield served
    for server in served.values():
        server.shutdown()
        server.server_close()


@pytest.fixture
def port(children: dict[str, Served]) -> Iterator[int]:
    joined = JoinedMonitoring(
        socket.create_server(("127.0.0.1", 0)), {name: child.socket for name, child in children.items()}
    )
    joined.start()
    yield joined.socket.getsockname()[1]
    joined.shutdown()
    joined.server_close()


def ask(port: int, path: str, *, method: str = "GET", **headers: str) -> tuple[int, bytes, Any]:
    with closing(HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.headers


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
def test_all_are_well_or_the_one_that_is_not_is_named(port: int, children: dict[str, Served], path: str) -> None:
    status, body, _ = ask(port, path)
    well = {"status": "ok"}
    assert (status, json.loads(body)) == (200, {**well, "devices": {"cuda:0": well, "cuda:3": well}})
    children["cuda:3"].status, children["cuda:3"].state = 503, {"status": "unavailable", "storage": "cannot be written"}
    status, body, _ = ask(port, f"{path}?verbose")
    assert (status, json.loads(body)["status"]) == (503, "unavailable")
    assert json.loads(body)["devices"] == {"cuda:0": well, "cuda:3": children["cuda:3"].state}
    assert ask(port, path, method="HEAD")[:2] == (503, b"")


def test_one_that_does_not_answer_is_not_alive(
    port: int, children: dict[str, Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joined_monitoring, "ASK_SECONDS", 0.05)
    children["cuda:0"].shutdown()  # the socket still takes connections, as while another process starts
    status, body, _ = ask(port, "/livez")
    assert status == 503
    assert json.loads(body)["devices"]["cuda:0"] == {"status": "unavailable", "service": "does not answer"}
    assert b'device="cuda:3"' in ask(port, "/metrics", Authorization=TOKEN)[1]
    children["cuda:3"].shutdown()
    assert ask(port, "/metrics", Authorization=TOKEN)[:2] == (503, b"")


def test_the_metrics_of_all_are_one_page_with_their_devices(port: int) -> None:
    status, body, headers = ask(port, "/metrics", Authorization=TOKEN)
    assert (status, headers["Content-Type"]) == (200, CONTENT_TYPE_LATEST)
    families = {family.name: family for family in text_string_to_metric_families(body.decode())}
    found = [(sample.labels, sample.value) for sample in families["evictions"].samples if sample.name.endswith("total")]
    expected = [({"device": "cuda:0", "model": "sd15"}, 1.0), ({"device": "cuda:3", "model": 'a "b" {c} \\'}, 1.0)]
    assert found == expected
    sums = {s.labels["device"]: s.value for s in families["step_seconds"].samples if s.name == "step_seconds_sum"}
    assert sums == {"cuda:0": 1.5, "cuda:3": 1.5}
    lines = body.decode().splitlines()
    assert len({line for line in lines if line.startswith("# ")}) == len([x for x in lines if x.startswith("# ")])


def test_a_refusal_of_the_children_is_passed_on(port: int) -> None:
    status, _, headers = ask(port, "/metrics")
    assert (status, headers["WWW-Authenticate"]) == (401, "Bearer")
    assert ask(port, "/")[:2] == (404, b"")


def test_no_metrics_are_none() -> None:
    assert join_samples({"cpu:0": ""}) == ""


# Several children


class Process:
    """A process that runs until it ends with its status, or is asked to stop."""

    def __init__(self, pid: int, status: int | None) -> None:
        self.pid, self.status, self.signals = pid, status, list[int]()
        self.has_ended = Event()
        if status is not None:
            self.has_ended.set()

    def wait(self) -> int:
        self.has_ended.wait()
        return self.status or 0

    def send_signal(self, number: int) -> None:
        self.signals.append(number)
        self.has_ended.set()


def test_invalid_settings_of_one_child_stop_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """And one that crashes is started again beside the others that run."""
    started: dict[str, list[Process]] = {"cpu:0": [], "cpu:1": []}
    ends: dict[str, list[int | None]] = {"cpu:0": [None], "cpu:1": [1, supervisor.INVALID_SETTINGS]}

    def start(command: Sequence[str], *, env: dict[str, str], **options: Any) -> Process:
        of_device = started[env["DREAMLAYER_DEVICE_NAME"]]
        of_device.append(Process(len(of_device), ends[env["DREAMLAYER_DEVICE_NAME"]][len(of_device)]))
        return of_device[-1]

    monkeypatch.setattr(subprocess, "Popen", start)
    monkeypatch.setattr(supervisor, "FIRST_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(signal, "signal", lambda number, handler: None)
    with socket.socket() as first, socket.socket() as second:
        children = [
            supervisor.Child(listener, device.environment, device.name)
            for listener, device in zip((first, second), find_devices("cpu:0,cpu:1"), strict=True)
        ]
        assert supervisor.Supervisor(children).run() == supervisor.INVALID_SETTINGS
    assert len(started["cpu:1"]) == 2
    assert [process.signals for process in started["cpu:0"]] == [[signal.SIGTERM]]
    assert children[0].settings["DREAMLAYER_PARENT"] != children[1].settings["DREAMLAYER_PARENT"], "one row for both"
