"""The settings of the database, broker, channel layer and storage that their URLs stand for."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

import environ

EMBEDDED_BROKER = "embedded://here"
IN_MEMORY_CHANNEL_LAYER = "inpainting.realtime.channel_layers.ThreadSafeInMemoryChannelLayer"
SCHEMES = {
    "DATABASE_URL": ("sqlite", "postgres", "postgresql"),
    "BROKER_URL": ("redis", "rediss", "amqp", "amqps"),
    "CHANNEL_URL": ("redis", "rediss", "unix"),
    "STORAGE_URL": ("file", "s3"),
}
"""Setting -> the schemes that its URL may have."""
TLS_OPTIONS = {"ssl_ca_certs": "ca_certs", "ssl_certfile": "certfile", "ssl_keyfile": "keyfile"}
"""Options of an amqps:// URL, named as those of rediss:// -> the options of py-amqp.

They are files in PEM: the authorities that a server may have its certificate of, and our certificate with its key.
"""
POSTGRESQL_OPTIONS = {
    "connect_timeout": 5,
    # A connection whose other side is lost ends within 20 seconds; by the kernel's defaults, within two hours.
    **{"keepalives_idle": 5, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 20_000},
}
"""https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS; seconds, tcp_user_timeout: ms."""
CONNECTION_SECONDS = 10
"""How long a request waits for a connection of the pool, and how long the pool tries to make one before it gives up.

The pool doubles its pause after each attempt and makes no other meanwhile: by its default, 300 seconds, a process stays
without PostgreSQL for as long after an outage as the outage lasted. Once it has given up, the next request starts anew.
"""
CONNECT_SECONDS = 2
"""How long a process waits for a broker or a channel layer that does not answer; it then works without them."""
REDIS_SECONDS = 3
"""How long a request waits for Redis; twice, with the repetition. Consumers ask Redis to answer within one second."""


def database_settings(url: str, *, connections: int) -> dict[str, Any]:
    """Return an entry of DATABASES.

    connections: of one process to PostgreSQL, at most.
    """
    database: dict[str, Any] = environ.Env.db_url_config(url)
    options = database.setdefault("OPTIONS", {})
    if database["ENGINE"] == "django.db.backends.sqlite3":
        database["CONN_MAX_AGE"] = None
        database["OPTIONS"] = {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            # FULL: in WAL mode, lower levels can lose accepted generations on power failure.
            # secure_delete: zeros replace deleted rows; whether that is the default depends on how SQLite was built.
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON; "
            "PRAGMA secure_delete=ON;",
        }
    elif database["ENGINE"] == "django.db.backends.postgresql":
        for name, value in POSTGRESQL_OPTIONS.items():
            options.setdefault(name, value)
        # None are kept open without work: PostgreSQL's own limit counts the connections of all processes.
        options["pool"] = {
            **{"min_size": 0, "max_size": connections, "max_idle": 60},
            **{"timeout": CONNECTION_SECONDS, "reconnect_timeout": CONNECTION_SECONDS},
        }
        database["CONN_HEALTH_CHECKS"] = True
        # PgBouncer in transaction mode gives each transaction another session: a cursor of the session would be lost.
        database["DISABLE_SERVER_SIDE_CURSORS"] = True
    return database


def broker_settings(url: str) -> dict[str, Any]:
    """Return Celery's settings of the connection to the broker.

    Publishing fails within seconds; consumers connect forever. Over TLS the certificate of the server and its host name
    are verified, which kombu leaves out by default.
    """
    options: dict[str, Any] = {"max_retries": 1, "interval_start": 0, "interval_step": 0.2, "interval_max": 0.2}
    if scheme_of(url) in ("redis", "rediss"):
        timeouts = {"socket_connect_timeout": CONNECT_SECONDS, "socket_timeout": REDIS_SECONDS}
        options |= {**timeouts, "socket_keepalive": True}
    elif scheme_of(url) not in ("amqp", "amqps"):
        return {"BROKER_TRANSPORT_OPTIONS": {"polling_interval": 1.0}}  # a fallback; messages notify their consumers
    return {
        **tls_settings(url),
        "BROKER_TRANSPORT_OPTIONS": options,
        "BROKER_CONNECTION_TIMEOUT": CONNECT_SECONDS,
        "BROKER_CONNECTION_MAX_RETRIES": None,
        "BROKER_CONNECTION_RETRY_ON_STARTUP": True,
        "TASK_PUBLISH_RETRY_POLICY": {key: options[key] for key in ("max_retries", "interval_start", "interval_max")},
    }


def tls_settings(url: str) -> dict[str, Any]:
    """Return Celery's settings of the TLS of a broker; none without TLS.

    kombu passes the options of a rediss:// URL on itself. It cannot do so with those of amqps://, which are therefore
    taken out of the URL.
    """
    if scheme_of(url) == "rediss":
        return {"BROKER_USE_SSL": {"ssl_cert_reqs": ssl.CERT_REQUIRED}}
    if scheme_of(url) != "amqps":
        return {}
    address, _, query = url.partition("?")
    options = dict(parse_qsl(query))
    # Without a server_hostname py-amqp does not compare host names, and kombu's would be 127.0.0.1 for localhost.
    tls: dict[str, Any] = {"cert_reqs": ssl.CERT_REQUIRED, "server_hostname": urlsplit(url).hostname}
    tls |= {TLS_OPTIONS[name]: options.pop(name) for name in list(options) if name in TLS_OPTIONS}
    return {"BROKER_URL": f"{address}?{urlencode(options)}" if options else address, "BROKER_USE_SSL": tls}


def channel_layer_settings(url: str) -> dict[str, Any]:
    """Return an entry of CHANNEL_LAYERS. Without a URL: in the memory of the process."""
    if not url:
        return {"BACKEND": IN_MEMORY_CHANNEL_LAYER}
    host = {"address": url, "socket_connect_timeout": CONNECT_SECONDS, "health_check_interval": 15}
    options = {"hosts": [host], "prefix": "dreamlayer"}
    return {"BACKEND": "inpainting.realtime.redis_channel_layer.RedisChannelLayer", "CONFIG": options}


def storage_settings(url: str, *, default_folder: Path, group_reads: bool = False) -> dict[str, Any]:
    """Return an entry of STORAGES. Without a URL: files in `default_folder`.

    group_reads: whether the files' group may read.

    file:///folder, or s3://KEY:SECRET@host/bucket/prefix?region=eu-central-1&tls=false. Without KEY:SECRET, boto3 looks
    for credentials as usual; reserved characters in them are percent-encoded. ssl_ca_certs=/path names a file with the
    authorities that the server may have its certificate of, instead of those that botocore brings.
    """
    parts = urlsplit(url)
    if parts.scheme == "s3":
        return {"BACKEND": "inpainting.storage.s3.S3ImageStorage", "OPTIONS": s3_options(url)}
    return {
        "BACKEND": "inpainting.storage.DurableFileSystemStorage",
        "OPTIONS": {
            "location": Path(unquote(parts.path)) if parts.path else default_folder,
            "file_permissions_mode": 0o640 if group_reads else 0o600,
            "directory_permissions_mode": 0o750 if group_reads else 0o700,
        },
    }


def s3_options(url: str) -> dict[str, Any]:
    """Return the options of django-storages' S3Storage."""
    parts = urlsplit(url)
    query: Mapping[str, str] = dict(parse_qsl(parts.query))
    bucket, _, prefix = parts.path.strip("/").partition("/")
    host = parts.netloc.rpartition("@")[2]
    options: dict[str, Any] = {
        "bucket_name": unquote(bucket),
        "location": unquote(prefix),
        "endpoint_url": f"{'http' if query.get('tls') == 'false' else 'https'}://{host}",
        "region_name": query.get("region", "us-east-1"),
    }
    if "ssl_ca_certs" in query:
        options["verify"] = query["ssl_ca_certs"]
    if parts.username:
        options |= {"access_key": unquote(parts.username), "secret_key": unquote(parts.password or "")}
    return options


def scheme_of(url: str) -> str:
    return url.partition(":")[0].lower()
