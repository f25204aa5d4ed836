"""System checks of the settings for several processes: `serve` does not start with some that cannot work together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import Error, register

from dreamlayer_site.server.supervisor import QUEUES, ROLES
from dreamlayer_site.service_urls import SCHEMES, TLS_OPTIONS, s3_options, scheme_of
from inpainting.worker.queue.fair_queue import ANALYSES_AT_ONCE

LIBRARIES = {
    "DATABASE_URL": {"postgres": "psycopg_pool", "postgresql": "psycopg_pool"},
    "BROKER_URL": {"redis": "redis", "rediss": "redis"},
    "CHANNEL_URL": dict.fromkeys(SCHEMES["CHANNEL_URL"], "channels_redis"),
    "STORAGE_URL": {"s3": "boto3"},
}
"""Setting -> scheme of its URL -> the library that it needs."""
RABBITMQ_TLS_OPTIONS = {"cacertfile", "certfile", "keyfile", "verify", "server_name_indication"}
"""https://www.rabbitmq.com/docs/uri-query-parameters"""
SPARE_CONNECTIONS = 4
"""Connections to the database beside those of the workers: for the poller, health checks and requests."""


@register()
def urls_are_known(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[Error]:
    """Refuse URLs of other services, and those whose library is not installed."""
    return list(wrong_urls())


def wrong_urls() -> Iterator[Error]:
    for name, schemes in SCHEMES.items():
        url = getattr(settings, name)
        scheme = scheme_of(url)
        library = LIBRARIES[name].get(scheme)
        if url and scheme not in schemes:
            expected = ", ".join(f"{known}://" for known in schemes)
            yield Error(
                f"DREAMLAYER_{name} begins with “{scheme}:”.", hint=f"It begins with {expected}.", id="dreamlayer.E004"
            )
        elif library is not None and find_spec(library) is None:
            yield Error(
                f"DREAMLAYER_{name} is {scheme}://…, and this installation lacks the package {library}.",
                hint="“pip install .[scale]” adds it.",
                id="dreamlayer.E005",
            )
        elif scheme == "amqps" and (unknown := unknown_tls_options(url)):
            yield Error(
                f"DREAMLAYER_{name} has the options {', '.join(unknown)}.",
                hint=f"Of TLS, an amqps:// URL has {', '.join(TLS_OPTIONS)}.",
                id="dreamlayer.E014",
            )
        elif scheme == "s3" and not s3_options(url)["bucket_name"]:
            yield Error(
                f"DREAMLAYER_{name} names no bucket.",
                hint="It is s3://KEY:SECRET@host/bucket?region=….",
                id="dreamlayer.E006",
            )


def unknown_tls_options(url: str) -> list[str]:
    """Return the options of an amqps:// URL that are about TLS and would be ignored, such as RabbitMQ's own names."""
    options = {name for name, _ in parse_qsl(urlsplit(url).query)} - TLS_OPTIONS.keys()
    return sorted(name for name in options if name.startswith("ssl") or name in RABBITMQ_TLS_OPTIONS)


@register()
def role_is_known(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[Error]:
    """Refuse a role or queues that `serve` could not have set."""
    errors = []
    if settings.ROLE not in ROLES:
        message, hint = f"DREAMLAYER_ROLE is “{settings.ROLE}”.", f"It is {', '.join(ROLES[:-1])} or {ROLES[-1]}."
        errors.append(Error(message, hint=hint, id="dreamlayer.E007"))
    if unknown := set(settings.QUEUES) - set(QUEUES):
        message = f"DREAMLAYER_QUEUES names {', '.join(sorted(unknown))}."
        errors.append(Error(message, hint=f"The queues are {', '.join(QUEUES)}.", id="dreamlayer.E007"))
    return errors


@register()
def images_can_be_sent(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[Error]:
    """Refuse a sender of the images that is unknown, cannot reach the storage, or breaks pages.

    Browsers say that an image is for a page of this site (Sec-Fetch-Site) only over https; without it, share pages
    would be redirected to the bucket, whose images their Content-Security-Policy forbids.
    """
    sender, is_bucket = settings.IMAGES_SENT_BY, scheme_of(settings.STORAGE_URL) == "s3"
    reason = {
        "web": "",
        "nginx": "the images are in a bucket, and nginx sends files" if is_bucket else "",
        "bucket": "" if is_bucket else "the images are not in a bucket",
    }.get(sender, "there is no such choice")
    if sender == "bucket" and not reason and not settings.BEHIND_TLS:
        reason = "share pages need https for it"
    if not reason:
        return []
    hint = "It is web, nginx (with files), or bucket (with DREAMLAYER_STORAGE_URL=s3://… and DREAMLAYER_BEHIND_TLS)."
    return [Error(f"DREAMLAYER_IMAGES_SENT_BY is “{sender}”: {reason}.", hint=hint, id="dreamlayer.E011")]


@register()
def processes_share_their_services(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[Error]:
    """Refuse what only one process can use where several processes work together."""
    is_sqlite = scheme_of(settings.DATABASE_URL) == "sqlite"
    if settings.ROLE == "all":
        if settings.BROKER_URL and is_sqlite:
            return [
                Error(
                    "DREAMLAYER_BROKER_URL is for several processes, and the database is SQLite.",
                    hint="Set DREAMLAYER_DATABASE_URL=postgres://…, or leave out the broker: one process needs none.",
                    id="dreamlayer.E008",
                )
            ]
        return []
    alone = {
        "DATABASE_URL": (is_sqlite, "postgres://…", "SQLite is for one process"),
        "BROKER_URL": (not settings.BROKER_URL, "redis://… or amqp://…", "the embedded broker is in one process"),
        "CHANNEL_URL": (not settings.CHANNEL_URL, "redis://…", "the channel layer in memory is in one process"),
        "STORAGE_URL": (
            not settings.STORAGE_URL,
            "s3://…, or file:///folder if that folder is the same for all processes",
            "the data folder is that of one process",
        ),
        "SECRET_KEY": (
            not settings.HAS_OWN_SECRET_KEY,
            "one long random text for all processes",
            "the one in the data folder is that of one process",
        ),
    }
    return [
        Error(
            f"The role is {settings.ROLE}, and DREAMLAYER_{name} does not fit it: {reason}.",
            hint=f"Set DREAMLAYER_{name} to {value}.",
            id="dreamlayer.E009",
        )
        for name, (is_wrong, value, reason) in alone.items()
        if is_wrong
    ]


@register()
def workers_have_connections(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[Error]:
    """Refuse a pool of connections that the workers use up: the last of them, and all requests, would wait in vain."""
    if scheme_of(settings.DATABASE_URL) == "sqlite":
        return []
    # An analysis finds its model on a thread beside the one that renews its lease.
    counts = {
        "cpu": settings.WORKERS + 2 * ANALYSES_AT_ONCE,
        "gpu": settings.DIFFUSION_AT_ONCE,
        "hooks": SPARE_CONNECTIONS,
    }
    needed = SPARE_CONNECTIONS + sum(counts.get(queue, 0) for queue in settings.QUEUES)
    if needed <= settings.DATABASE_CONNECTIONS:
        return []
    return [
        Error(
            f"DREAMLAYER_DATABASE_CONNECTIONS is {settings.DATABASE_CONNECTIONS}.",
            hint=f"The workers of this process need {needed}: lower DREAMLAYER_WORKERS or "
            "DREAMLAYER_DIFFUSION_AT_ONCE, or raise it.",
            id="dreamlayer.E010",
        )
    ]
