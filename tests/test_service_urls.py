"""The URLs of database, broker, channel layer and storage, and the settings that cannot work together."""

from __future__ import annotations

import re
from importlib import util
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as site
from django.core.management import CommandError, call_command

from dreamlayer_site import scale_checks
from dreamlayer_site.service_urls import (
    EMBEDDED_BROKER,
    broker_settings,
    channel_layer_settings,
    database_settings,
    storage_settings,
)
from inpainting.worker.queue.fair_queue import ANALYSES_AT_ONCE

SHARED = {
    "BROKER_URL": "redis://redis/0",
    "CHANNEL_URL": "redis://redis/1",
    "STORAGE_URL": "file:///srv/pictures",
    "HAS_OWN_SECRET_KEY": True,
    "DATABASE_URL": "postgres://database/name",
}
"""Settings with which web processes and workers can be separate."""


def test_without_urls_all_is_in_one_process() -> None:
    assert (site.ROLE, site.IS_ALONE, site.QUEUES) == ("all", True, ["cpu", "gpu", "hooks"])
    assert site.CELERY_BROKER_URL == EMBEDDED_BROKER
    assert broker_settings(EMBEDDED_BROKER) == {"BROKER_TRANSPORT_OPTIONS": {"polling_interval": 1.0}}
    assert "InMemory" in channel_layer_settings("")["BACKEND"]
    assert storage_settings("", default_folder=Path("/var/p"))["OPTIONS"]["location"] == Path("/var/p")


def test_postgresql_is_pooled_and_fits_pgbouncer() -> None:
    database = database_settings("postgres://me:a%40b@db:6432/paint?sslmode=require", connections=7)
    assert (database["HOST"], database["PORT"], database["PASSWORD"]) == ("db", 6432, "a@b")
    assert (database["OPTIONS"]["sslmode"], database["OPTIONS"]["pool"]["max_size"]) == ("require", 7)
    assert database["DISABLE_SERVER_SIDE_CURSORS"]


@pytest.mark.parametrize("url", ["redis://r:6379/0", "rediss://:secret@r/0", "amqp://me:secret@rabbit//"])
def test_a_broker_that_does_not_answer_is_given_up_within_seconds(url: str) -> None:
    broker = broker_settings(url)
    assert (broker["BROKER_TRANSPORT_OPTIONS"]["max_retries"], broker["BROKER_CONNECTION_TIMEOUT"]) == (1, 2)
    assert broker["BROKER_CONNECTION_MAX_RETRIES"] is None  # by consumers alone


def test_the_tls_of_rabbitmq_is_taken_out_of_its_url() -> None:
    broker = broker_settings("amqps://me:a%40b@rabbit:5671//?ssl_ca_certs=/my%20ca.pem&heartbeat=10")
    assert broker["BROKER_URL"] == "amqps://me:a%40b@rabbit:5671//?heartbeat=10"
    assert broker["BROKER_USE_SSL"]["ca_certs"] == "/my ca.pem"
    assert not {"BROKER_URL", "BROKER_USE_SSL"} & broker_settings("amqp://me@rabbit//").keys()


def test_the_url_of_a_bucket() -> None:
    url = "s3://KEY:se%2Fcret@s3.example.org:9000/bucket/some/prefix?region=eu-central-1"
    options = storage_settings(url, default_folder=Path("/unused"))["OPTIONS"]
    assert options == {
        "access_key": "KEY",
        "secret_key": "se/cret",
        "bucket_name": "bucket",
        "location": "some/prefix",
        "endpoint_url": "https://s3.example.org:9000",
        "region_name": "eu-central-1",
    }
    plain = storage_settings("s3://127.0.0.1/bucket?tls=false", default_folder=Path("/unused"))["OPTIONS"]
    assert plain["endpoint_url"] == "http://127.0.0.1"
    assert "access_key" not in plain  # boto3 looks for credentials
    folder = storage_settings("file:///srv/my%20images", default_folder=Path("/unused"))["OPTIONS"]["location"]
    assert folder == Path("/srv/my images")


@pytest.mark.parametrize(
    ("setting", "url", "message"),
    [
        ("BROKER_URL", "sqs://host", "DREAMLAYER_BROKER_URL begins with “sqs:”"),
        ("BROKER_URL", "amqps://host//?cacertfile=/ca.pem", "DREAMLAYER_BROKER_URL has the options cacertfile"),
        ("BROKER_URL", "amqps://host//?ssl_cert_reqs=none", "DREAMLAYER_BROKER_URL has the options ssl_cert_reqs"),
        ("CHANNEL_URL", "amqp://host", "DREAMLAYER_CHANNEL_URL begins with “amqp:”"),
        ("STORAGE_URL", "gs://bucket", "DREAMLAYER_STORAGE_URL begins with “gs:”"),
        ("STORAGE_URL", "s3://KEY:SECRET@host", "DREAMLAYER_STORAGE_URL names no bucket"),
        ("DATABASE_URL", "mysql://host/name", "DREAMLAYER_DATABASE_URL begins with “mysql:”"),
    ],
)
def test_an_unknown_url_is_refused(settings: Any, setting: str, url: str, message: str) -> None:
    setattr(settings, setting, url)
    with pytest.raises(CommandError, match=message):
        call_command("check")


def test_a_missing_library_is_named(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.STORAGE_URL = "s3://host/bucket"
    monkeypatch.setattr(scale_checks, "find_spec", lambda name: None if name == "boto3" else util.find_spec(name))
    with pytest.raises(CommandError, match=r"(?s)lacks the package boto3.*pip install \.\[scale\]"):
        call_command("check")


@pytest.mark.parametrize("role", ["web", "worker"])
@pytest.mark.parametrize("missing", [*SHARED])
def test_each_service_that_only_one_process_has_is_refused(settings: Any, role: str, missing: str) -> None:
    own = {name: getattr(settings, name) for name in SHARED}
    for name, value in (SHARED | {"ROLE": role, "QUEUES": []}).items():
        setattr(settings, name, value)
    assert scale_checks.processes_share_their_services(None) == []
    setattr(settings, missing, own[missing])
    name = missing.removeprefix("HAS_OWN_")
    (error,) = scale_checks.processes_share_their_services(None)
    assert f"The role is {role}, and DREAMLAYER_{name} does not fit it" in error.msg


def test_sqlite_with_a_broker_is_refused(settings: Any) -> None:
    settings.BROKER_URL = SHARED["BROKER_URL"]
    (error,) = scale_checks.processes_share_their_services(None)
    assert "the database is SQLite" in error.msg


def test_an_unknown_role_or_queue_is_refused(settings: Any) -> None:
    settings.ROLE, settings.QUEUES = "wrong", ["cpu", "slow"]
    role, queues = scale_checks.role_is_known(None)
    assert (role.msg, queues.msg) == ("DREAMLAYER_ROLE is “wrong”.", "DREAMLAYER_QUEUES names slow.")


def test_a_pool_that_the_workers_use_up_is_refused(settings: Any) -> None:
    settings.DATABASE_URL = SHARED["DATABASE_URL"]
    settings.WORKERS, settings.DIFFUSION_AT_ONCE, settings.DATABASE_CONNECTIONS = 2, 16, 25
    (error,) = scale_checks.workers_have_connections(None)
    assert error.hint is not None
    assert re.search(f"need {26 + 2 * ANALYSES_AT_ONCE}", error.hint)
    settings.QUEUES = ["cpu", "hooks"]
    assert scale_checks.workers_have_connections(None) == []
