"""The files for containers, systemd and Kubernetes: valid by their schemas, with options and settings that exist."""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import kubernetes_validate
import pytest
import requests
import yaml
from django.core.management import get_commands
from websockets.sync.client import connect
from websockets.typing import Origin

from dreamlayer_site.server import supervisor
from tests.support.installation import ROOT, Installation
from tests.support.ports import free_port
from tests.support.services import S3, s3_server, shipped_nginx

VALUES = {"POSTGRES_PASSWORD": "a", "S3_SECRET": "b", "DOMAIN": "paint.example.org"}
SETTINGS = (ROOT / "dreamlayer_site/settings.py").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
KUBERNETES: list[dict[str, Any]] = yaml.safe_load((ROOT / "deploy/kubernetes/dreamlayer.yaml").read_text())["items"]
OF_KUBERNETES = [manifest for manifest in KUBERNETES if "keda" not in manifest["apiVersion"]]
UNITS = [
    "dreamlayer-all.service",
    "dreamlayer-web.service",
    "dreamlayer-worker@cpu.service",
    "dreamlayer-worker-gpu@all.service",
]


def containers_of(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    return manifest["spec"].get("template", {}).get("spec", {}).get("containers", []) if "spec" in manifest else []


def commands() -> Iterator[list[str]]:
    """Every command of the files that starts DreamLayer."""
    yield from (service["command"] for service in COMPOSE["services"].values() if "build" in service)
    yield from (container["command"] for manifest in KUBERNETES for container in containers_of(manifest))
    for unit in (ROOT / "deploy/systemd").glob("*.service"):
        for line in re.findall(r"^Exec\w+=(.*)$", unit.read_text(), re.MULTILINE):
            yield line.replace("--devices %i", "--devices all").replace("%i", "gpu").replace("${PORT}", "8001").split()
    for line in re.findall(r"python manage\.py [^&\"]*", (ROOT / "Dockerfile").read_text()):
        yield line.split()


def environment_of(service: str, **values: str) -> dict[str, str]:
    """The environment of a service of compose.yaml, with VALUES and these."""
    known = {**VALUES, **values}
    variables = COMPOSE["services"][service]["environment"].items()
    return {name: interpolated(text, known) for name, text in variables}


def interpolated(text: str, values: dict[str, str]) -> str:
    """https://docs.docker.com/reference/compose-file/interpolation/"""

    def value(found: re.Match[str]) -> str:
        name, operator, other = found.groups()
        present = values.get(name, "")
        return (other if present else "") if operator == "+" else present or (other if operator == "-" else "")

    while (inner := re.sub(r"\$\{(\w+)(?::([-+?])([^{}]*))?\}", value, text)) != text:
        text = inner
    return text


def test_the_dockerfile_follows_the_rules_of_hadolint() -> None:
    program = str(Path(sys.executable).with_name("hadolint"))
    done = subprocess.run([program, "Dockerfile"], cwd=ROOT, capture_output=True)
    assert (done.returncode, done.stdout) == (0, b"")


def test_compose_follows_its_schema() -> None:
    program = str(Path(sys.executable).with_name("check-jsonschema"))
    command = [program, "--builtin-schema", "vendor.compose-spec", "compose.yaml"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    "manifest", OF_KUBERNETES, ids=lambda manifest: f"{manifest['kind']} {manifest['metadata']['name']}"
)
def test_kubernetes_knows_each_field(manifest: dict[str, Any]) -> None:
    kubernetes_validate.validate(manifest, "1.29", strict=True)


def test_autoscaling_names_a_deployment() -> None:
    """tests/test_metrics.py checks the metric that it follows."""
    (target,) = (manifest["spec"]["scaleTargetRef"] for manifest in KUBERNETES if manifest["kind"] == "ScaledObject")
    assert target["name"] in {item["metadata"]["name"] for item in KUBERNETES if item["kind"] == "Deployment"}


@pytest.mark.full
@pytest.mark.parametrize("unit", UNITS)
def test_systemd_knows_each_line(unit: str, tmp_path: Path) -> None:
    verify = shutil.which("systemd-analyze")
    if verify is None:
        pytest.skip("systemd is not installed (Debian: apt install systemd)")
    shutil.copytree(ROOT / "deploy/systemd", tmp_path / "units")
    for file in (tmp_path / "units").rglob("*.*"):
        if file.is_file():
            file.write_text(file.read_text().replace("/opt/dreamlayer/.venv/bin/python", sys.executable))
    done = subprocess.run(
        [verify, "verify", f"./{unit}"],
        cwd=tmp_path / "units",
        env={"SYSTEMD_UNIT_PATH": f"{tmp_path / 'units'}:"},
        capture_output=True,
        text=True,
    )
    assert "dreamlayer" not in done.stderr  # it also checks units of the machine


def test_serve_accepts_the_options_of_each_command() -> None:
    parser = argparse.ArgumentParser()
    supervisor.add_arguments(parser)
    found = [command for command in commands() if "serve" in command]
    assert len(found) == 12
    for command in found:
        options = parser.parse_args(command[command.index("serve") + 1 :])
        assert options.role in supervisor.ROLES


def test_a_worker_of_gpus_has_a_process_for_each_that_it_is_given() -> None:
    with_all = [command for command in commands() if "--devices" in command]
    assert all(command[command.index("--devices") + 1] == "all" for command in with_all)
    assert len(with_all) == 4  # compose.yaml, systemd, and Kubernetes with 1 and with 8
    (reserved,) = COMPOSE["services"]["worker-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert [interpolated(reserved["count"], values) for values in ({}, {"GPUS": "8"})] == ["all", "8"]
    limits = [
        container["resources"]["limits"]
        for item in KUBERNETES
        for container in containers_of(item)
        if "resources" in container
    ]
    assert [limit["nvidia.com/gpu"] for limit in limits if "nvidia.com/gpu" in limit] == [1, 8]


def test_every_variable_is_a_setting() -> None:
    files = ["compose.yaml", "Dockerfile", "deploy/compose.env", "deploy/kubernetes/dreamlayer.yaml"]
    files += [str(path.relative_to(ROOT)) for path in (ROOT / "deploy/systemd").rglob("*.*") if path.is_file()]
    named = {name for file in files for name in re.findall(r"DREAMLAYER_\w+", (ROOT / file).read_text())}
    assert len(named) >= 9
    of_files = {name for name in named if name.endswith("_FILE")}
    assert len(of_files) >= 5
    assert [name for name in sorted(named - of_files) if f'"{name}"' not in SETTINGS] == []
    assert [name for name in sorted(of_files) if f'env.secret("{name.removesuffix("_FILE")}"' not in SETTINGS] == []


def test_every_file_of_a_secret_is_in_the_containers() -> None:
    for name, service in COMPOSE["services"].items():
        variables = service.get("environment", {})
        files = {path for variable, path in variables.items() if variable.endswith("_FILE")}
        assert files == {f"/run/secrets/{secret}" for secret in service.get("secrets", ())}, name
        assert set(service.get("secrets", ())) <= COMPOSE["secrets"].keys()
    (variables,) = (manifest["data"] for manifest in KUBERNETES if manifest["kind"] == "ConfigMap")
    files = {path for variable, path in variables.items() if variable.endswith("_FILE")}
    page = (ROOT / "deploy/kubernetes/dreamlayer.yaml").read_text()
    keys = {f"/run/secrets/dreamlayer/{name}" for name in re.findall(r"--from-literal=(\w+)=", page)}
    assert files == keys != set()
    for manifest in KUBERNETES:
        for container in containers_of(manifest):
            (volume,) = (
                mount["name"] for mount in container["volumeMounts"] if mount["mountPath"] == "/run/secrets/dreamlayer"
            )
            volumes = manifest["spec"]["template"]["spec"]["volumes"]
            assert {"secretName": "dreamlayer", "defaultMode": 0o440} in [
                found.get("secret") for found in volumes if found["name"] == volume
            ]


def test_every_file_and_command_of_the_page_on_several_machines_exists() -> None:
    page = (ROOT / "docs/run/scaling.md").read_text()
    files = {*re.findall(r"`((?:tests|deploy|benchmarks)/[\w./-]+)`", page)}
    assert len(files) >= 12
    assert [name for name in sorted(files) if not (ROOT / name).exists()] == []
    named = {*re.findall(r"manage\.py ([a-z_]+)", page)}
    assert {"serve", "move_storage", "copy_database"} <= named <= get_commands().keys()
    words = re.findall(r"^docker compose (?:run|up|logs) ([^#\n]*)", page, re.MULTILINE)
    services = {word for line in words for word in line.split() if not word.startswith("--")}
    assert {"web", "migrate", "worker"} <= services <= COMPOSE["services"].keys()
    assert [name for name in re.findall(r"`(DREAMLAYER_\w+)`", page) if f'"{name}"' not in SETTINGS] == []


@pytest.mark.parametrize(("service", "role"), [("web", "web"), ("worker", "worker"), ("migrate", "all")])
def test_the_files_of_the_image_start_with_the_settings_of_compose(service: str, role: str, tmp_path: Path) -> None:
    """Copies what .dockerignore leaves, and runs the system checks on it."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    for name in (line[1:] for line in lines if line.startswith("!")):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        (tmp_path / name).parent.mkdir(exist_ok=True)
        copy(ROOT / name, tmp_path / name)
    (tmp_path / "secrets").mkdir()
    for name in COMPOSE["services"][service]["secrets"]:
        (tmp_path / "secrets" / name).write_text("c" * 60)
    environment = {name: text.replace("/run", str(tmp_path)) for name, text in environment_of(service).items()}
    done = subprocess.run(
        [sys.executable, "manage.py", "check"],
        cwd=tmp_path,
        env={**environment, "DREAMLAYER_ROLE": role, "DREAMLAYER_DATA_DIR": str(tmp_path / "data")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture
def s3() -> Iterator[S3]:
    with s3_server() as server:
        yield server


def test_the_bucket_is_created_once(s3: S3) -> None:
    url = s3.url.replace(f"/{s3.name}?", "/another?")
    for _ in range(2):
        subprocess.run(
            [sys.executable, "deploy/create_bucket.py"],
            cwd=ROOT,
            env={"DREAMLAYER_STORAGE_URL": url, "AWS_EC2_METADATA_DISABLED": "true"},
            check=True,
        )
    assert "another" in {bucket["Name"] for bucket in s3.client.list_buckets()["Buckets"]}


def test_the_nginx_of_compose_starts(tmp_path: Path) -> None:
    nothing = free_port()
    with shipped_nginx(tmp_path, [nothing]) as front, pytest.raises(HTTPError, match="502"):
        urlopen(front.url)


@pytest.mark.parametrize(("values", "port"), [({}, ""), ({"PORT": "8443"}, ":8443")])
def test_compose_trusts_pages_of_its_port(values: dict[str, str], port: str) -> None:
    assert environment_of("web", **values)["DREAMLAYER_TRUSTED_ORIGINS"] == f"https://paint.example.org{port}"
    assert interpolated(COMPOSE["services"]["nginx"]["ports"][0], values) == f"{port.lstrip(':') or '443'}:443"


@pytest.mark.full
def test_links_behind_nginx_have_its_port(tmp_path: Path, photo_png: bytes, mask_png: bytes) -> None:
    for name in ("data", "nginx"):
        (tmp_path / name).mkdir()
    installation = Installation(tmp_path / "data")
    key = installation.migrate_with_key()
    with installation.serving(), shipped_nginx(tmp_path / "nginx", [installation.port]) as front:
        headers = {"X-API-Key": key, "Origin": front.url, "Sec-Fetch-Site": "same-origin"}
        images = {"image": photo_png, "mask": mask_png}
        answer = requests.post(
            f"{front.url}/api/img2img", headers=headers, files=images, data={"prompt": "a lawn"}, timeout=60
        ).json()
        (link,) = answer["images"]
        assert link.startswith(f"{front.url}/")
        assert requests.get(link, timeout=60).content.startswith(b"\x89PNG")
        ticket = requests.post(f"{front.url}/api/tickets/", headers=headers, timeout=60).json()
        with connect(ticket["url"], origin=Origin(front.url)) as socket:
            assert socket.response is not None
            assert socket.response.status_code == 101


def test_nginx_has_the_lines_that_were_tried() -> None:
    """The server of docs/run/operations.md, but for names, certificates, and web processes that come and go."""
    page = (ROOT / "docs/run/operations.md").read_text().partition("<!-- nginx -->\n```nginx\n")[2].partition("```")[0]
    tried, shipped = set(page.splitlines()), set((ROOT / "deploy/nginx.conf").read_text().splitlines())
    replaced = ("    server 127.0.0.1:8000;", "    listen 443 ssl http2;", "    server_name ", "    ssl_certificate")
    assert [line for line in tried - shipped if not line.startswith(replaced)] == []
