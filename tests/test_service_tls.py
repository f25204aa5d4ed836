"""Database, broker, channel layer and bucket over TLS, by their URLs alone: of a server that an authority certifies.

Another authority, no authority of ours, and another host name than the certificate's are refused.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from asgiref.sync import async_to_sync
from celery import Celery
from django.db.utils import ConnectionHandler
from kombu.exceptions import OperationalError as BrokerError
from redis.exceptions import ConnectionError as RedisError

from dreamlayer_site.service_urls import broker_settings, channel_layer_settings, database_settings, storage_settings
from inpainting.realtime.redis_channel_layer import RedisChannelLayer
from inpainting.storage import StorageUnavailable
from inpainting.storage.s3 import S3ImageStorage
from tests.support import postgres
from tests.support.certificates import Authority
from tests.support.scaled_site import Site
from tests.support.services import Nginx, nginx, rabbitmq_server, redis_server, s3_server


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The one of the servers' certificates, for localhost. Servers that are other users may read it."""
    authority = Authority(tmp_path_factory.mktemp("authority") / "files")
    authority.issue()
    return authority


@pytest.fixture(scope="module")
def other_authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("other"), "Another authority of the tests")


@pytest.fixture(scope="module")
def redis_url(authority: Authority) -> Iterator[str]:
    with redis_server(certificate=authority.folder) as server:
        yield server.tls_url


@pytest.fixture(scope="module")
def rabbitmq_url(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with rabbitmq_server(tmp_path_factory.mktemp("rabbitmq"), certificate=authority.folder) as server:
        yield server.tls_url


@pytest.fixture(scope="module")
def database_url(authority: Authority) -> str:
    if postgres.binaries() is None:
        pytest.skip("PostgreSQL is not installed")
    server = postgres.Server()
    for name, source in {"server.crt": "certificate.pem", "server.key": "key.pem"}.items():
        target = shutil.copy(authority.folder / source, server.data / name)
        Path(target).chmod(0o600)
        if server.user:
            shutil.chown(target, server.user)
    server.set("ssl", "on")
    return f"{server.url.replace('127.0.0.1', 'localhost')}?sslmode=verify-full"


@pytest.fixture(scope="module")
def bucket_url(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with s3_server() as s3, tls_front(tmp_path_factory.mktemp("nginx"), s3.url, authority) as front:
        yield s3.url.replace(address_of(s3.url), front.url.removeprefix("https://")).removesuffix("&tls=false")


def tls_front(folder: Path, s3_url: str, authority: Authority) -> AbstractContextManager[Nginx]:
    """nginx with the certificate of the authority in front of a bucket."""
    certificate = "".join(
        f"ssl_{directive} {authority.folder}/{file}.pem;"
        for directive, file in {"certificate": "certificate", "certificate_key": "key"}.items()
    )
    server = f"{certificate} location / {{ proxy_pass http://{address_of(s3_url)}; proxy_set_header Host $http_host; }}"
    return nginx(folder, server, tls=True)


def address_of(s3_url: str) -> str:
    return s3_url.partition("@")[2].partition("/")[0]


def connect_celery(url: str) -> None:
    app = Celery(set_as_current=False, broker=url)
    app.conf.update({name.lower(): value for name, value in broker_settings(url).items()})
    with app.connection_for_write() as connection:
        connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0)


def connect_channel_layer(url: str) -> None:
    layer = RedisChannelLayer(**channel_layer_settings(url)["CONFIG"])
    async_to_sync(layer._send)("a-group", {"type": "nothing"})


def connect_database(url: str) -> None:
    database = database_settings(url, connections=1)
    del database["OPTIONS"]["pool"]  # it would try again for seconds
    options = ConnectionHandler({"default": database})["default"].get_connection_params()
    with psycopg.connect(**options) as connection:
        shown = connection.execute("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").fetchone()
        assert shown is not None
        assert shown[0]


def connect_bucket(url: str) -> None:
    storage = S3ImageStorage(**storage_settings(url, default_folder=Path("/unused"))["OPTIONS"])
    assert not storage.exists("nothing")


@dataclass(frozen=True)
class Service:
    """url: the name of the fixture. authority_option: of the URL, names the file of the authority."""

    url: str
    connect: Callable[[str], None]
    refused: type[Exception]
    authority_option: str = "ssl_ca_certs"


SERVICES = [
    pytest.param(Service("redis_url", connect_celery, BrokerError), id="broker, Redis"),
    pytest.param(Service("rabbitmq_url", connect_celery, BrokerError), id="broker, RabbitMQ", marks=pytest.mark.full),
    pytest.param(Service("redis_url", connect_channel_layer, RedisError), id="channel layer"),
    pytest.param(Service("database_url", connect_database, psycopg.OperationalError, "sslrootcert"), id="database"),
    pytest.param(Service("bucket_url", connect_bucket, StorageUnavailable), id="bucket"),
]


@pytest.mark.parametrize("service", SERVICES)
def test_the_authority_of_the_url_is_trusted_and_no_other(
    service: Service, request: pytest.FixtureRequest, authority: Authority, other_authority: Authority
) -> None:
    url: str = request.getfixturevalue(service.url)
    option = f"{url}{'&' if '?' in url else '?'}{service.authority_option}="
    service.connect(f"{option}{authority.file}")
    for refused in (
        url,
        f"{option}{other_authority.file}",
        f"{option}{authority.file}".replace("localhost", "127.0.0.1"),
    ):
        with pytest.raises(service.refused, match=r"(?i)certificate|SSL"):
            service.connect(refused)


@pytest.mark.full
@pytest.mark.parametrize("broker", ["redis_url", "rabbitmq_url"])
def test_a_site_whose_servers_all_speak_tls_paints(
    broker: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    authority: Authority,
    redis_url: str,
    database_url: str,
    bucket_url: str,
    photo_png: bytes,
    mask_png: bytes,
) -> None:
    option = f"ssl_ca_certs={authority.file}"
    site = Site(
        tmp_path,
        redis_url=f"{redis_url}?{option}",
        s3_url=f"{bucket_url}&{option}",
        database_url=f"{database_url}&sslrootcert={authority.file}",
        environment={"DREAMLAYER_BROKER_URL": f"{request.getfixturevalue(broker)}?{option}"},
    )
    worker = site.process("worker", "--queues", "cpu,hooks")
    with site.serving(worker):
        site.paint(photo_png, mask_png)
        assert b'{"status": "ok"}' in site.web.get("/readyz")[1]
    assert "certificate" not in (site.web.log + worker.log).lower()
