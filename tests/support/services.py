"""Redis, RabbitMQ, PgBouncer, nginx and S3 servers that the tests start themselves."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from kombu import Connection
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

from tests.support.installation import ROOT, Installation
from tests.support.ports import free_port

DEBIAN_RABBITMQ = Path("/usr/lib/rabbitmq/lib")
DRIP_SECONDS = 0.1
KEY, SECRET = "a-key", "a-secret"


class Redis:
    """A Redis server without files.

    certificate: a folder with certificate.pem and key.pem, with which it also speaks TLS, at localhost.
    """

    def __init__(self, *, certificate: Path | None = None) -> None:
        program = shutil.which("redis-server")
        if program is None:
            pytest.skip("Redis is not installed (Debian: apt install redis-server)")
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.command = [program, "--port", str(self.port), "--save", "", "--bind", "127.0.0.1"]
        if certificate is not None:
            tls_port = free_port()
            self.tls_url = f"rediss://localhost:{tls_port}/0"
            self.command += ["--tls-port", str(tls_port), "--tls-auth-clients", "no"]
            self.command += ["--tls-cert-file", str(certificate / "certificate.pem")]
            self.command += ["--tls-key-file", str(certificate / "key.pem"), "--tls-ca-cert-dir", str(certificate)]
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        while subprocess.run(["redis-cli", "-p", str(self.port), "ping"], capture_output=True, check=False).returncode:
            assert time.monotonic() < deadline, "Redis does not start"
            time.sleep(0.05)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


@contextmanager
def redis_server(*, certificate: Path | None = None) -> Iterator[Redis]:
    server = Redis(certificate=certificate)
    try:
        yield server
    finally:
        server.stop()


class RabbitMQ:
    """A RabbitMQ server with its files in `folder`.

    certificate: a folder with certificate.pem and key.pem, with which it also speaks TLS, at localhost.
    """

    def __init__(self, folder: Path, *, certificate: Path | None = None) -> None:
        self.program = shutil.which("rabbitmq-server", path=os.pathsep.join(map(str, DEBIAN_RABBITMQ.glob("*/sbin"))))
        if self.program is None:
            pytest.skip("RabbitMQ is not installed (Debian: apt install rabbitmq-server)")
        self.folder, self.port = folder, free_port()
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}//"
        nowhere = str(folder / "none")
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),  # of Erlang's cookie
            "ERL_EPMD_PORT": str(free_port()),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"dreamlayer{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": nowhere,
            "RABBITMQ_CONF_ENV_FILE": nowhere,
            "RABBITMQ_CONFIG_FILE": nowhere,
        }
        if certificate is not None:
            tls_port = free_port()
            self.tls_url = f"amqps://guest:guest@localhost:{tls_port}//"
            (folder / "tls.conf").write_text(
                f"listeners.ssl.default = 127.0.0.1:{tls_port}\n"
                f"ssl_options.certfile = {certificate}/certificate.pem\nssl_options.keyfile = {certificate}/key.pem\n"
            )
            self.environment["RABBITMQ_CONFIG_FILE"] = str(folder / "tls.conf")
        # Erlang's name server: one that RabbitMQ starts would outlive it.
        self.names = subprocess.Popen(["epmd"], env=self.environment)
        self.start()

    def start(self) -> None:
        with (self.folder / "rabbitmq.log").open("a") as log:
            self.process = subprocess.Popen(
                [str(self.program)], env=self.environment, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + 90
        while True:
            with suppress(OSError), Connection(self.url, connect_timeout=2) as connection:
                connection.connect()
                return
            assert time.monotonic() < deadline, "RabbitMQ does not start"
            time.sleep(0.2)

    def stop(self) -> None:
        """Kill it."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def consumers(self, queue: str) -> int:
        with Connection(self.url) as connection:
            return int(connection.default_channel.queue_declare(queue, passive=True).consumer_count)


@contextmanager
def rabbitmq_server(folder: Path, *, certificate: Path | None = None) -> Iterator[RabbitMQ]:
    server = RabbitMQ(folder, certificate=certificate)
    try:
        yield server
    finally:
        server.stop()
        server.names.kill()
        server.names.wait()


class Server:
    """A program that listens on a port of this machine. `stop` kills it with its processes."""

    def __init__(self, command: list[str], port: int, log: Path) -> None:
        self.command, self.port, self.log = command, port, log
        self.start()

    def start(self) -> None:
        with self.log.open("a") as log:
            self.process = subprocess.Popen(self.command, stderr=log, start_new_session=True)
        Installation.wait_until(lambda: self.process.poll() is not None or is_listening(self.port))
        assert self.process.poll() is None, self.log.read_text()

    def stop(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def restart(self) -> None:
        self.stop()
        self.start()


class PgBouncer(Server):
    """In transaction mode. connections: to the server, at most. folder: for its files."""

    def __init__(self, database_url: str, folder: Path, *, connections: int) -> None:
        program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
        if program is None:
            pytest.skip("PgBouncer is not installed (Debian: apt install pgbouncer)")
        port, behind = free_port(), urlsplit(database_url)
        (folder / "pgbouncer.ini").write_text(
            f"[databases]\npostgres = host={behind.hostname} port={behind.port} user={behind.username}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n"
            f"pool_mode = transaction\ndefault_pool_size = {connections}\nmax_client_conn = 1000\n"
            "server_login_retry = 1\n"
        )
        folder.chmod(0o755)
        user = ["-u", "nobody"] if os.geteuid() == 0 else []  # it refuses to run as root
        self.url = f"postgres://{behind.username}@127.0.0.1:{port}/postgres"
        super().__init__([program, "-q", *user, str(folder / "pgbouncer.ini")], port, folder / "pgbouncer.log")


class Nginx(Server):
    """server: the content of its `server` block, without `listen`. http: what is outside of it. folder: its files.

    tls: whether it listens for TLS, with the certificate that `server` names.
    """

    def __init__(
        self, folder: Path, server: str, *, http: str = "", port: int | None = None, tls: bool = False
    ) -> None:
        program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
        if program is None:
            pytest.skip("nginx is not installed (Debian: apt install nginx-light)")
        port = port or free_port()
        listen = f"listen 127.0.0.1:{port}{' ssl' if tls else ''};"
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        temporary = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
        (folder / "nginx.conf").write_text(
            f"daemon off; pid {folder}/nginx.pid; {'user root;' if os.geteuid() == 0 else ''} events {{}}"
            f"http {{ access_log off; {temporary} {http} server {{ {listen} {server} }} }}"
        )
        self.url = f"https://localhost:{port}" if tls else f"http://127.0.0.1:{port}"
        command = [program, "-e", "stderr", "-p", str(folder), "-c", str(folder / "nginx.conf")]
        super().__init__(command, port, folder / "nginx.log")


@contextmanager
def pgbouncer(database_url: str, folder: Path, *, connections: int) -> Iterator[PgBouncer]:
    server = PgBouncer(database_url, folder, connections=connections)
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def nginx(folder: Path, server: str, *, http: str = "", port: int | None = None, tls: bool = False) -> Iterator[Nginx]:
    front = Nginx(folder, server, http=http, port=port, tls=tls)
    try:
        yield front
    finally:
        front.stop()


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def shipped_nginx(
    folder: Path, ports: Iterable[int], *, port: int | None = None, certificate: Path | None = None
) -> AbstractContextManager[Nginx]:
    """The nginx of compose.yaml with web processes at these ports of this machine.

    port: at which it listens. certificate: a folder with certificate.pem and key.pem; without it, it speaks plain HTTP.
    """
    http, _, server = (ROOT / "deploy/nginx.conf").read_text().partition("server {\n    listen")
    found = re.search(r"    server web:8000 resolve (.*)\n", http)
    assert found is not None
    http = http.replace(found[0], "".join(f"    server 127.0.0.1:{port} {found[1]}\n" for port in ports))
    http = re.sub(r"resolver .*\n", "", http)  # Docker's
    server = (
        re.sub(r" *(443 ssl|http2|server_name)\b.*\n", "", server).rstrip().removesuffix("}")
    )  # http2: of nginx 1.25
    server = server.replace("/var/log/nginx", str(folder))
    if certificate is None:
        server = re.sub(r" *ssl_\w+\b.*\n", "", server)
    else:
        server = server.replace("/etc/nginx/tls", str(certificate))
    return nginx(folder, f"{server}\n", http=f"\n{http}", port=port, tls=certificate is not None)


class Bucket:
    """A bucket of an S3 server at a port of this machine."""

    def __init__(self, port: int, name: str) -> None:
        address = f"127.0.0.1:{port}"
        self.name = name
        self.url = f"s3://{KEY}:{SECRET}@{address}/{name}?region=eu-central-1&tls=false"
        self.client: Any = boto3.client(
            "s3",
            endpoint_url=f"http://{address}",
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
            region_name="eu-central-1",
        )

    def names(self) -> set[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name)
        return {found["Key"] for page in pages for found in page.get("Contents", ())}


class S3(Bucket):
    """An S3 server with one bucket, whose objects are in the memory of this process.

    fault: None, "break" (each response ends after half of its body), "drip" (each byte comes after DRIP_SECONDS), or a
    status and a code with which all requests are answered. requests: method, path and range of each.
    """

    def __init__(self) -> None:
        self.fault: tuple[int, str] | str | None = None
        self.requests: list[tuple[str, str, str]] = []
        self.application = DomainDispatcherApplication(create_backend_app)
        self.server = make_server("127.0.0.1", 0, self.answer, threaded=True, request_handler=Quiet)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        # moto's buckets belong to the process: servers side by side need names of their own.
        super().__init__(self.server.server_port, f"pictures-{self.server.server_port}")
        with suppress(self.client.exceptions.BucketAlreadyOwnedByYou):  # they outlive the servers, whose ports return
            place = {"LocationConstraint": "eu-central-1"}
            self.client.create_bucket(Bucket=self.name, CreateBucketConfiguration=place)
        self.empty()

    def answer(self, environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
        self.requests.append((environ["REQUEST_METHOD"], environ["PATH_INFO"], environ.get("HTTP_RANGE", "")))
        if isinstance(self.fault, tuple):
            return refusal(*self.fault, start_response)
        body: Iterable[bytes] = self.application(environ, start_response)
        faults = {"break": half_of, "drip": drip}
        if isinstance(self.fault, str) and environ["REQUEST_METHOD"] == "GET":
            return faults[self.fault](body)
        return body

    def empty(self) -> None:
        self.fault = None
        for name in self.names():
            self.client.delete_object(Bucket=self.name, Key=name)
        self.requests.clear()


class Quiet(MotoRequestHandler):  # type: ignore[misc]  # moto ships types of which mypy reads none
    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Log nothing."""


def refusal(status: int, code: str, start_response: Callable[..., object]) -> list[bytes]:
    """The answer of S3 to a request that it refuses."""
    start_response(f"{status} Fault", [("Content-Type", "application/xml")])
    return [f"<Error><Code>{code}</Code><Message>on demand</Message></Error>".encode()]


def half_of(body: Iterable[bytes]) -> Iterator[bytes]:
    whole = b"".join(body)
    yield whole[: len(whole) // 2]
    raise ConnectionAbortedError("on demand")


def drip(body: Iterable[bytes]) -> Iterator[bytes]:
    for byte in b"".join(body):
        time.sleep(DRIP_SECONDS)
        yield bytes([byte])


@contextmanager
def s3_server() -> Iterator[S3]:
    service = S3()
    try:
        yield service
    finally:
        service.server.shutdown()
