"""`manage.py serve` with real processes: generating, restarting, stopping and continuing."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import socket
import sqlite3
import struct
import subprocess
import sys
import time
import urllib.request
from argparse import ArgumentTypeError
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection
from importlib.util import find_spec
from pathlib import Path

import pytest
from django.core.management import CommandError

from dreamlayer_site.folder_lock import lock_data_folder
from dreamlayer_site.hosts import is_address, own_hosts
from dreamlayer_site.server import supervisor
from tests.conftest import ALLOWED_ORIGIN
from tests.support.installation import ROOT, Installation

FAIL_WHILE_WORK_RUNS = """
import os, time
import django
os.environ["DJANGO_SETTINGS_MODULE"] = "dreamlayer_site.settings"
django.setup()
from django.core.management import call_command
from dreamlayer_site.management.commands import serve
from inpainting.models import Generation

def fail(*arguments):
    while not Generation.objects.filter(status="running").exists():
        time.sleep(0.01)
    raise OSError("no address")

serve.Command.print_addresses = fail
call_command("serve", child=True, listener_fd=0)
"""
"""A child of `serve` that fails at its start, after its workers have begun with what waits."""


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    installation = Installation(tmp_path)
    installation.migrate()
    return installation


@pytest.fixture
def key(installation: Installation) -> str:
    return installation.migrate_with_key()


@pytest.fixture(scope="module")
def exposed_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A running server on all interfaces that takes images of 80 MB."""
    site = Installation(tmp_path_factory.mktemp("exposed"), DREAMLAYER_MAX_IMAGE_MB="80")
    site.host = "0.0.0.0"  # noqa: S104 - the free port of this module
    site.migrate_with_key()
    with site.serving():
        yield site


def test_a_generation_runs_through_real_workers(
    site: Installation, site_key: str, photo_png: bytes, mask_png: bytes
) -> None:
    status, body = site.img2img(site_key, photo_png, mask_png)
    assert (status, body["status"]) == (200, "success")
    link = body["images"][0]  # type: ignore[index]
    with urllib.request.urlopen(link, timeout=20) as answer:
        assert answer.read(8) == b"\x89PNG\r\n\x1a\n"
    assert site.get("/livez")[0] == 200
    page = site.get("/accounts/login/")[1].decode()
    style = re.search(r'href="(/static/css/[^"]+)"', page)
    assert style
    assert site.get(style[1])[0] == 200


def test_a_body_in_chunks_is_read(site: Installation, site_key: str) -> None:
    """Node.js sends one for a file that is read as a stream."""
    headers = {"X-API-Key": site_key, "Content-Type": "application/json"}
    chunks = iter([b'{"prompt": "a', b' lawn", "steps": 7}'])
    with closing(HTTPConnection("127.0.0.1", site.port, timeout=60)) as client:
        client.request("POST", "/api/img2img", chunks, headers, encode_chunked=True)
        problem = json.loads(client.getresponse().read())
    assert problem["field"] == "input_image", "it is known for a body of JSON, which lacks the image"


def test_its_matrix_products_use_one_thread_and_its_threads_share_two_arenas(site: Installation) -> None:
    assert site.process is not None
    (child,) = site.children_of(site.process.pid)
    variables = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
    assert {b"OPENBLAS_NUM_THREADS=1", b"MALLOC_ARENA_MAX=2"} <= set(variables)


@pytest.mark.full  # test_architecture.py finds the imports without starting anything
def test_the_built_in_engine_imports_no_heavy_libraries(tmp_path: Path, photo_png: bytes, mask_png: bytes) -> None:
    heavy = {"torch", "diffusers", "transformers", "accelerate", "onnxruntime"}
    # Not psycopg, which Django REST framework imports where it is installed.
    of_several_processes = {"boto3", "botocore", "channels_redis", "psycopg_pool", "redis", "storages"}
    assert find_spec("torch") or os.environ.get("CI") != "true", "without torch here, nothing could import it"
    installation = Installation(tmp_path)
    key = installation.migrate_with_key()
    # Every process then logs each module that it imports, at any time.
    installation.environment["PYTHONPROFILEIMPORTTIME"] = "1"
    with installation.serving():
        status, body = installation.img2img(key, photo_png, mask_png)
        assert (status, body["status"]) == (200, "success")
    imported = set(re.findall(r"^import time:.*\| +(\S+)$", installation.log, re.MULTILINE))
    assert {"inpainting.engines.quick_fill.filling", "inpainting.worker.run", "cv2"} <= imported
    assert not (heavy | of_several_processes) & imported


def test_the_parent_reads_the_time_to_finish_work_from_the_environment_and_from_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "ENV_FILE", tmp_path / ".env")
    monkeypatch.setenv("DREAMLAYER_DRAIN_SECONDS", "")
    assert supervisor.read_drain_seconds() == 0
    monkeypatch.delenv("DREAMLAYER_DRAIN_SECONDS")
    (tmp_path / ".env").write_text("DREAMLAYER_DRAIN_SECONDS=60\n")
    assert supervisor.read_drain_seconds() == 60


@pytest.mark.parametrize("value", ["soon", "-1", "inf", "nan", "86400"])
def test_times_that_no_timer_takes_are_refused(
    value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(supervisor, "ENV_FILE", tmp_path / ".env")
    monkeypatch.setenv("DREAMLAYER_DRAIN_SECONDS", value)
    monkeypatch.setattr(supervisor, "listen", lambda host, port: pytest.fail("it starts"))
    assert supervisor.supervise([]) == supervisor.INVALID_SETTINGS
    message = f"DREAMLAYER_DRAIN_SECONDS is “{value}”; it is a number of seconds, at least 0, less than 86400.\n"
    assert capsys.readouterr().err == message
    with pytest.raises(SystemExit):
        supervisor.supervise([f"--stop-seconds={value}"])


def test_only_known_queues_are_taken() -> None:
    assert supervisor.queues("cpu, hooks") == "cpu,hooks"
    with pytest.raises(ArgumentTypeError, match="'cpu,slow' is not a list of cpu, gpu, hooks"):
        supervisor.queues("cpu,slow")


def test_an_unknown_warm_up_model_is_a_warning(site: Installation) -> None:
    assert site.get("/")[0] == 200
    site.wait_until(lambda: "DREAMLAYER_DIFFUSION_WARM_UP: There is no model" in site.log)


@pytest.mark.full
def test_a_killed_child_is_restarted_and_its_generations_continue(
    installation: Installation, key: str, photo_png: bytes, mask_png: bytes
) -> None:
    with installation.serving() as server:
        accepted = [installation.img2img(key, photo_png, mask_png, prefer="respond-async")[1] for _ in range(6)]
        (child,) = installation.children_of(server.pid)
        os.kill(child, signal.SIGKILL)
        for body in accepted:
            url = str(body["url"])
            installation.wait_until(
                lambda url=url: b'"succeeded"' in installation.get(url, key=key)[1]  # type: ignore[misc]
            )
        assert server.poll() is None
        assert installation.children_of(server.pid) != [child]


def test_the_child_ends_with_its_parent_and_the_next_server_continues(
    installation: Installation, key: str, photo_png: bytes, mask_png: bytes
) -> None:
    with installation.serving() as server:
        body = installation.img2img(key, photo_png, mask_png, prefer="respond-async")[1]
        server.kill()
        server.wait()
        installation.wait_until(lambda: installation.get("/livez")[0] == 0)
    left = installation.folder / "tmp/left.upload.png"
    left.touch()
    with installation.serving():
        assert not left.exists()
        installation.wait_until(lambda: b'"succeeded"' in installation.get(str(body["url"]), key=key)[1])


def test_a_starting_child_ends_with_its_parent(installation: Installation) -> None:
    (installation.folder / "slow_settings.py").write_text("import time; time.sleep(60)")
    read, write = os.pipe()
    os.close(write)
    command = [sys.executable, str(ROOT / "manage.py"), "serve", "--child", "--parent-fd", str(read)]
    environment = {
        **installation.environment,
        "DJANGO_SETTINGS_MODULE": "slow_settings",
        "PYTHONPATH": str(installation.folder),
    }
    done = subprocess.run(command, env=environment, pass_fds=[read], capture_output=True, text=True, check=False)
    os.close(read)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.full
def test_the_next_server_waits_for_the_address(installation: Installation) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", installation.port))
        other.listen()
        server = installation.start()
        time.sleep(1)
    try:
        installation.wait_until(lambda: server.poll() is not None or installation.get("/livez")[0] == 200)
        assert server.poll() is None
    finally:
        server.terminate()
        server.wait(40)


def test_a_child_that_ends_while_it_starts_fails_no_generation(
    installation: Installation, key: str, photo_png: bytes, mask_png: bytes
) -> None:
    installation.serve_options = ["--queues", "hooks"]
    with installation.serving():
        for _ in range(6):
            installation.img2img(key, photo_png, mask_png, prefer="respond-async")
    command = [sys.executable, "-c", FAIL_WHILE_WORK_RUNS]
    ended = subprocess.run(command, env=installation.environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "OSError: no address" in ended.stderr
    with closing(sqlite3.connect(installation.folder / "dreamlayer.sqlite3")) as database:
        ends = database.execute("SELECT DISTINCT status, attempts, error_code FROM inpainting_generation").fetchall()
    assert ("queued", 0, "") in ends
    assert {status for status, _, _ in ends} <= {"queued", "succeeded"}


def test_it_stops_cleanly_on_sigterm(installation: Installation, key: str, photo_png: bytes, mask_png: bytes) -> None:
    with installation.serving() as server, ThreadPoolExecutor(4) as callers:
        (child,) = installation.children_of(server.pid)
        for _ in range(40):  # a caller waits for a result while the server stops
            callers.submit(installation.img2img, key, photo_png, mask_png)
        time.sleep(1)
        os.killpg(server.pid, signal.SIGINT)  # as Ctrl-C does: to both processes
        assert server.wait(20) == 0
        assert not Path(f"/proc/{child}").exists()
        callers.shutdown(cancel_futures=True)
    assert "Traceback" not in installation.log


def test_it_prints_its_url_and_the_first_administrators_link(site: Installation) -> None:
    assert f"http://127.0.0.1:{site.port}/" in site.log
    link = re.search(r"http://[^/]+(/setup/\S+/)", site.log)
    assert link
    assert site.get(link[1])[0] == 200


def test_on_all_interfaces_it_prints_the_urls_for_other_machines(exposed_site: Installation) -> None:
    own = {f"http://{host}:{exposed_site.port}" for host in own_hosts("0.0.0.0") if is_address(host)}  # noqa: S104
    others = {url for url in own if not url.startswith(("http://127.", "http://["))}
    assert set(re.findall(r"on other machines: (\S+)/$", exposed_site.log, re.MULTILINE)) == others
    for url in others:
        with urllib.request.urlopen(f"{url}/livez", timeout=20) as answer:
            assert answer.status == 200


def test_a_port_in_use_is_reported(installation: Installation) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", installation.port))
        other.listen()
        command = [sys.executable, str(ROOT / "manage.py"), "serve", "--port", str(installation.port)]
        done = subprocess.run(command, env=installation.environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"127.0.0.1:{installation.port}" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_body_that_is_too_large_is_refused(site: Installation, site_key: str) -> None:
    status, body = site.get("/api/img2img", key=site_key, data=b"x" * (64 * 2**20 + 1))
    assert (status, json.loads(body)["code"]) == (413, "body_too_large")


def test_a_form_with_a_large_image_is_read_where_images_may_be_larger(
    exposed_site: Installation, photo_png: bytes, mask_png: bytes
) -> None:
    site, key = exposed_site, exposed_site.key
    comment = bytes(65 * 2**20)  # a chunk that is skipped, so that the file is large and its pixels are few
    large = photo_png[:33] + struct.pack(">I", len(comment)) + b"coMm" + comment + bytes(4) + photo_png[33:]
    status, answer = site.img2img(key, large, mask_png)
    assert (status, answer["status"]) == (200, "success")
    text = json.dumps({"image": base64.b64encode(large).decode(), "prompt": ""}).encode()
    status, body = site.get("/api/img2img", key=key, data=text, headers={"Content-Type": "application/json"})
    assert (status, json.loads(body)["code"]) == (413, "body_too_large")


def test_an_allowed_origin_can_read_the_413(site: Installation) -> None:
    for origin, allowed in ((ALLOWED_ORIGIN, ALLOWED_ORIGIN), ("https://evil.example", None)):
        connection = HTTPConnection("127.0.0.1", site.port, timeout=20)
        connection.putrequest("POST", "/api/img2img")
        connection.putheader("Origin", origin)
        connection.putheader("Content-Length", str(65 * 2**20))
        connection.endheaders()
        answer = connection.getresponse()
        assert (answer.status, json.load(answer)["code"]) == (413, "body_too_large")
        assert answer.headers["Access-Control-Allow-Origin"] == allowed
        connection.close()


@pytest.mark.parametrize("path", ["/api/img2img", "/rest_api/process_result"])
def test_a_stranger_is_refused_before_a_large_body_is_sent(site: Installation, path: str) -> None:
    small = HTTPConnection("127.0.0.1", site.port, timeout=20)
    small.request("POST", path, b"{}", {"Content-Type": "application/json"})
    answer = small.getresponse()
    expected = answer.status, answer.read()
    large = HTTPConnection("127.0.0.1", site.port, timeout=20)
    large.putrequest("POST", path)
    large.putheader("Origin", ALLOWED_ORIGIN)
    large.putheader("Content-Length", str(60 * 2**20))
    large.endheaders()
    refusal = large.getresponse()
    assert (refusal.status, refusal.read()) == expected
    assert refusal.headers["Access-Control-Allow-Origin"] == ALLOWED_ORIGIN
    small.close()
    large.close()


def test_a_connection_sends_one_large_body_after_another(
    site: Installation, site_key: str, photo_png: bytes, mask_png: bytes
) -> None:
    headers = {"Content-Type": "application/json", "X-API-Key": site_key}
    connection = HTTPConnection("127.0.0.1", site.port, timeout=20)
    chunks = iter([b" " * 150_000, b"{}"])
    for body in (b" " * 300_000, chunks, b" " * 300_000):
        connection.request("POST", "/api/img2img", body, headers)
        answer = connection.getresponse()
        assert (answer.status, json.loads(answer.read())["code"]) == (400, "field_missing")
        assert not answer.will_close
    connection.close()


def test_the_secret_key_is_private_and_permanent(installation: Installation) -> None:
    path = installation.folder / "secret-key"
    first = path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(first) > 50
    installation.manage("check")
    assert path.read_text() == first


def test_an_invalid_form_gets_the_apis_error(site: Installation, site_key: str) -> None:
    """Twisted would parse forms too by default, and answer invalid ones with an empty 400."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{site.port}/api/img2img",
        data=b"no form",
        headers={"X-API-Key": site_key, "Content-Type": "multipart/form-data"},
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=20)
    assert refused.value.code == 400
    assert json.loads(refused.value.read())["status"] == "error"


def test_a_second_server_on_the_data_folder_ends(installation: Installation) -> None:
    with (
        lock_data_folder(installation.folder),
        pytest.raises(CommandError, match="Another server uses") as refused,
    ):
        lock_data_folder(installation.folder, wait_seconds=0.5)
    assert refused.value.returncode == supervisor.INVALID_SETTINGS  # its parent does not start it again


@pytest.mark.full
def test_all_data_is_private_under_any_umask(tmp_path: Path, photo_png: bytes, mask_png: bytes) -> None:
    installation = Installation(tmp_path / "var")
    installation.folder.mkdir(mode=0o755)
    (installation.folder / "dreamlayer.sqlite3").touch(mode=0o644)  # as an earlier version has left it
    before = os.umask(0)
    try:
        installation.manage("migrate", "--verbosity", "0")
        key = installation.manage("create_api_key", "alice@example.com", "--create-user").strip()
        with installation.serving():
            assert installation.img2img(key, photo_png, mask_png)[0] == 200
            static = installation.folder / "static"  # public, and readable for a web server in front
            paths = [path for path in installation.folder.rglob("*") if not path.is_relative_to(static)]
            paths = [installation.folder, *(path for path in paths if path.name != "serve.log")]
            modes = {path: path.stat().st_mode & 0o777 for path in paths}
    finally:
        os.umask(before)
    assert {path.name for path in modes} >= {"dreamlayer.sqlite3", "dreamlayer.sqlite3-wal", "serve.lock", "mask"}
    assert {path: oct(mode) for path, mode in modes.items() if mode != (0o700 if path.is_dir() else 0o600)} == {}


def test_a_foreign_host_is_one_line_of_the_log(site: Installation) -> None:
    assert site.get("/accounts/login/", headers={"Host": "evil.example"})[0] == 400
    site.wait_until(lambda: "evil.example" in site.log)
    lines = site.log.splitlines()
    (number,) = [number for number, line in enumerate(lines) if "evil.example" in line]
    assert "Invalid HTTP_HOST header" in lines[number]
    assert "Traceback" not in "".join(lines[number : number + 2])
