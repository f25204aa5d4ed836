"""What a site of several processes needs before it is served, tried with its own servers: `manage.py check_setup`.

Django's system checks read the settings; these connect. Both are in one list of findings.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from uuid import uuid4

from django.conf import settings
from django.core.checks import ERROR, WARNING, run_checks
from django.core.checks.security.base import check_secret_key
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import Error as DatabaseError
from django.db import connection
from django.http.request import validate_host

from dreamlayer_site.celery import app
from dreamlayer_site.health import LITTLE_SPACE, accepts_writes, find_storage_problem, is_migrated
from dreamlayer_site.service_urls import CONNECT_SECONDS, scheme_of
from inpainting.models import Generation, Worker

if TYPE_CHECKING:
    from redis import Redis

SKEW_SECONDS = 5.0
"""The difference of the clocks of this machine and of the database that is mentioned."""
MOST_SKEW_SECONDS = 900.0
"""The largest difference with which buckets accept a request (RequestTimeTooSkewed)."""
RUN_RIGHTS = "Let the owner of the tables run deploy/postgresql/rights.sql, which is due after each migration."


class Level(StrEnum):
    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True)
class Finding:
    """What was found about a part of the site. advice: what to do; empty for `ok`."""

    level: Level
    part: str
    message: str
    advice: str = ""


def find_all() -> Iterator[Finding]:
    """Run all checks of the role and the queues in the settings, those without a server first."""
    yield from check_settings()
    yield from check_secret()
    if settings.ROLE != "worker":
        yield from check_addresses()
    yield from check_database()
    yield from check_broker()
    yield from check_channel_layer()
    yield from check_storage()


def check_settings() -> Iterator[Finding]:
    """Run the system checks, which `serve` runs at its start as well."""
    messages = [message for message in run_checks() if message.level >= WARNING and not message.is_silenced()]
    for message in messages:
        level = Level.ERROR if message.level >= ERROR else Level.WARNING
        advice = message.hint or f"https://docs.djangoproject.com/en/stable/ref/checks/ describes {message.id}."
        yield Finding(level, "settings", str(message.msg), str(advice))
    if not messages:
        yield Finding(Level.OK, "settings", "they fit each other")


def check_secret() -> Iterator[Finding]:
    """Refuse a key that could be guessed, by the rule of Django's deployment checks (security.W009)."""
    if check_secret_key(None):
        advice = "Set DREAMLAYER_SECRET_KEY to the output of “openssl rand -hex 32”, the same for all processes."
        yield Finding(
            Level.ERROR, "secret key", "it has less than 50 characters, or fewer than 5 different ones", advice
        )
    else:
        yield Finding(Level.OK, "secret key", "it is long")


def check_addresses() -> Iterator[Finding]:
    """Check that the address of the site, the allowed hosts and TLS belong together."""
    url = urlsplit(settings.SITE_URL)
    if not settings.SITE_URL:
        advice = "Set DREAMLAYER_SITE_URL to the address that people type, such as https://paint.example.org."
        yield Finding(Level.WARNING, "site address", "links in mail have the host of a request", advice)
    elif not validate_host(url.hostname or "", settings.ALLOWED_HOSTS):
        advice = f"Add {url.hostname} to DREAMLAYER_ALLOWED_HOSTS."
        yield Finding(Level.ERROR, "site address", f"requests for {url.hostname} are refused", advice)
    else:
        yield Finding(Level.OK, "site address", f"{settings.SITE_URL}, which is an allowed host")
    if url.scheme == "https" and not settings.BEHIND_TLS:
        advice = "Set DREAMLAYER_BEHIND_TLS=true, and let the proxy set X-Forwarded-Proto and X-Forwarded-For."
        yield Finding(Level.ERROR, "TLS", "the address is https, and cookies are sent without TLS", advice)
    elif url.scheme == "http" and settings.BEHIND_TLS:
        advice = "Let DREAMLAYER_SITE_URL begin with https://."
        yield Finding(Level.ERROR, "TLS", "the address is http, which is redirected to https", advice)
    elif not settings.BEHIND_TLS:
        advice = "Put a proxy with TLS in front (docs/run/operations.md) and set DREAMLAYER_BEHIND_TLS=true."
        yield Finding(Level.WARNING, "TLS", "there is none: passwords and images can be read on the way", advice)
    else:
        yield Finding(Level.OK, "TLS", "a proxy in front of the web processes terminates it")


def check_database() -> Iterator[Finding]:
    """Check the server, its tables, the rights of this role, its clock, and the workers in it."""
    try:
        yield from check_server()
        if missing := missing_rights():
            more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
            message = f"the role of the database lacks {', '.join(missing[:3])}{more}"
            yield Finding(Level.ERROR, "rights", message, RUN_RIGHTS)
            return
        yield Finding(Level.OK, "rights", "the role of the database has those of the tables")
        if not is_migrated():
            yield Finding(Level.ERROR, "migrations", "some are not applied", "Let the owner run manage.py migrate.")
            return
        yield Finding(Level.OK, "migrations", "all are applied")
        if not accepts_writes():
            advice = "Let DREAMLAYER_DATABASE_URL lead to the primary."
            yield Finding(Level.ERROR, "database", "it cannot be written", advice)
            return
        yield from check_clock()
        yield from check_workers()
    except DatabaseError as error:
        advice = "Check DREAMLAYER_DATABASE_URL, the server and the network between."
        yield Finding(Level.ERROR, "database", f"it does not answer: {first_line(error)}", advice)


def check_server() -> Iterator[Finding]:
    with connection.cursor() as cursor:
        if connection.vendor != "postgresql":
            cursor.execute("SELECT 1")
            yield Finding(Level.OK, "database", connection.display_name)
            return
        cursor.execute("SELECT current_setting('server_version'), current_setting('server_encoding')")
        version, encoding = cursor.fetchone()
    if encoding == "UTF8":
        yield Finding(Level.OK, "database", f"PostgreSQL {version}, {encoding}")
    else:
        advice = "Create it anew: CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0."
        yield Finding(Level.ERROR, "database", f"its encoding is {encoding}, which lacks characters of prompts", advice)


def missing_rights() -> list[str]:
    """Return the rights, such as `INSERT on accounts_user`, that the role of the database needs and has not."""
    if connection.vendor != "postgresql":
        return []
    is_worker = settings.ROLE == "worker"
    kept = {"accounts_auditentry": "SELECT, INSERT", "django_migrations": "SELECT"}
    existing = set(connection.introspection.table_names())
    known = {*connection.introspection.django_table_names(include_views=False), *kept} & existing
    tables = [name for name in known if not is_worker or name.startswith("inpainting_")]
    always = "SELECT" if is_worker else "SELECT, INSERT, UPDATE, DELETE"
    wanted = [(table, right) for table in tables for right in kept.get(table, always).split(", ")]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT wanted.right_name || ' on ' || wanted.table_name "
            "FROM unnest(%s::text[], %s::text[]) AS wanted (table_name, right_name) "
            "WHERE NOT has_table_privilege(quote_ident(wanted.table_name), wanted.right_name)",
            [[table for table, _ in wanted], [right for _, right in wanted]],
        )
        return sorted(text for (text,) in cursor.fetchall())


def check_clock() -> Iterator[Finding]:
    """Compare the clocks. Signed links and sessions end by the machine's, leases and workers by the database's."""
    if connection.vendor != "postgresql":
        return
    with connection.cursor() as cursor:
        before = time.time()
        cursor.execute("SELECT extract(epoch FROM clock_timestamp())")
        (theirs,) = cursor.fetchone()
        skew = (before + time.time()) / 2 - float(theirs)
    if abs(skew) <= SKEW_SECONDS:
        yield Finding(Level.OK, "clock", "it is that of the database")
        return
    level = Level.ERROR if abs(skew) > MOST_SKEW_SECONDS else Level.WARNING
    message = f"it is {abs(skew):.0f} seconds {'ahead of' if skew > 0 else 'behind'} that of the database"
    yield Finding(level, "clock", message, "Let both machines follow a time server (NTP).")


def check_workers() -> Iterator[Finding]:
    """Name the queues of the settings that no live worker serves."""
    workers = [(worker.queues, worker.state) for worker in Worker.live()]
    for queue in ("cpu", "gpu", "hooks"):
        states = [state for queues, state in workers if queue in queues]
        if "ready" in states:
            yield Finding(Level.OK, f"queue {queue}", f"{states.count('ready')} of {len(states)} workers are ready")
        else:
            found = ", ".join(sorted(set(states))) or "none runs"
            advice = f"Start one: manage.py serve --role worker --queues {queue}. Until then its work waits."
            yield Finding(Level.WARNING, f"queue {queue}", f"no worker is ready ({found})", advice)


def check_broker() -> Iterator[Finding]:
    """Connect as workers do. A Redis that may evict any key loses the messages of the workers."""
    if not settings.BROKER_URL:
        return  # the system checks say so where it is needed

    def connect() -> None:
        with app.connection_for_write() as broker:
            broker.ensure_connection(max_retries=1, interval_start=0, interval_step=0, timeout=2 * CONNECT_SECONDS)

    finding = try_server("broker", "DREAMLAYER_BROKER_URL", connect)
    yield finding
    if finding.level == Level.OK and scheme_of(settings.BROKER_URL) in ("redis", "rediss"):
        yield from check_eviction(settings.BROKER_URL)


def check_eviction(url: str) -> Iterator[Finding]:
    from redis.exceptions import RedisError  # late, as in `redis_client`

    try:
        with redis_client(url) as client:
            memory: dict[str, Any] = client.info("memory")
    except RedisError as error:
        advice = "Let its user run INFO, or see to it that maxmemory-policy is volatile-lru or noeviction."
        yield Finding(Level.WARNING, "broker", f"how Redis evicts cannot be read: {first_line(error)}", advice)
        return
    policy = str(memory["maxmemory_policy"])
    if policy.startswith("allkeys") and memory["maxmemory"]:
        advice = "Set maxmemory-policy to volatile-lru or noeviction."
        yield Finding(Level.WARNING, "broker", f"Redis evicts messages when it is full ({policy})", advice)


def check_channel_layer() -> Iterator[Finding]:
    if not settings.CHANNEL_URL:
        return
    url = settings.CHANNEL_URL

    def connect() -> None:
        with redis_client(url) as client:
            client.ping()

    yield try_server("channel layer", "DREAMLAYER_CHANNEL_URL", connect)


def redis_client(url: str) -> Redis:
    from redis import Redis  # not at the top: an installation without Redis has no such package

    return Redis.from_url(url, socket_connect_timeout=CONNECT_SECONDS, socket_timeout=CONNECT_SECONDS)


def try_server(part: str, variable: str, connect: Callable[[], object]) -> Finding:
    try:
        connect()
    except Exception as error:  # of kombu, redis-py, ssl or the resolver
        advice = f"Check {variable}, the server and the network between."
        return Finding(Level.ERROR, part, f"it does not answer: {first_line(error)}", advice)
    return Finding(Level.OK, part, "it answers")


def check_storage() -> Iterator[Finding]:
    """Write, read and delete a file; then look for the newest image of the site, maybe of another process."""
    problem = find_storage_problem()
    if not problem:
        content = uuid4().bytes
        try:
            name = default_storage.save("check-setup", ContentFile(content))
            try:
                with default_storage.open(name) as file:
                    problem = "" if file.read() == content else "returns other bytes than were stored"
            finally:
                default_storage.delete(name)
        except OSError as error:
            problem = f"cannot be read: {first_line(error)}"
    if problem:
        advice = "Check DREAMLAYER_STORAGE_URL, and what its key or this user may do there: write, read and delete."
        if problem == LITTLE_SPACE:
            advice = "Free some on the disks of the data folder and of the images, or lower DREAMLAYER_FREE_SPACE_MB."
        yield Finding(Level.ERROR, "storage", f"it {problem}", advice)
        return
    yield Finding(Level.OK, "storage", "it can be written, read and deleted from")
    try:
        newest = Generation.objects.select_related("source").order_by("-created_at").first()
    except DatabaseError:
        return  # named above
    if newest is None:
        message = "no image is stored yet, so whether all processes share it is not known"
        yield Finding(Level.WARNING, "storage", message, "Repeat this on each machine after the first generation.")
    elif not default_storage.exists(str(newest.source.file.name)):
        advice = "Let DREAMLAYER_STORAGE_URL be the same bucket or shared folder in all processes."
        yield Finding(Level.ERROR, "storage", "the newest image of the site is not in it", advice)
    else:
        yield Finding(Level.OK, "storage", "it has the newest image of the site")


def first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
