"""deploy/postgresql: with the roles of the owner, web processes and workers, each can do its work and no more."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, LiteralString

import numpy as np
import psycopg
import pytest
import requests
from django.core.files.base import ContentFile
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from numpy.typing import NDArray

from accounts.models import User
from inpainting.accounting.limits import check_upload
from inpainting.core.geometry import Size
from inpainting.generations.retention import sweep
from inpainting.models import Draft, DraftImage, Retention, StepMask
from tests.support import postgres
from tests.support.installation import ROOT, Installation
from tests.support.scaled_site import Site
from tests.support.services import redis_server

ROLES = (ROOT / "deploy/postgresql/roles.sql").read_text()
RIGHTS = (ROOT / "deploy/postgresql/rights.sql").read_text()
NOT_FOR_WORKERS = set(re.findall(r"^--   (\w+)$", RIGHTS, re.MULTILINE))
TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
ANY_RIGHT = """
SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND (
    has_table_privilege(%(role)s, oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, TRIGGER')
    OR has_any_column_privilege(%(role)s, oid, 'SELECT, INSERT, UPDATE, REFERENCES'))
"""
READABLE = """
SELECT column_name FROM information_schema.columns WHERE table_schema = 'public' AND table_name = %s
AND has_column_privilege('dreamlayer_worker', 'public.' || table_name, column_name, 'SELECT')
"""
PASSWORD = "dusk-over-the-bench-42"
SET_PASSWORD = f"""
from accounts.models import User
user = User.objects.get()
user.set_password({PASSWORD!r})
user.save()
"""
SWEEP = """
from django.utils import timezone
from inpainting.generations.retention import sweep
assert sweep(timezone.now())
"""


class Database:
    """A migrated database with the roles and rights. url: of a superuser."""

    def __init__(self, folder: Path) -> None:
        self.server = postgres.Server()
        self.execute(self.server.url, ROLES)
        Installation(folder, DREAMLAYER_DATABASE_URL=self.url_of("owner")).manage("migrate", "--verbosity", "0")
        for _ in range(2):  # after each migration
            self.execute(self.url_of("owner"), RIGHTS)

    def url_of(self, role: str) -> str:
        return self.server.url.replace("//dreamlayer@", f"//dreamlayer_{role}@")

    def execute(self, url: str, sql: str) -> None:
        with psycopg.connect(url, autocommit=True) as session:
            session.execute(sql)

    def names(self, query: LiteralString, parameters: Any = ()) -> set[str]:
        with psycopg.connect(self.server.url) as session:
            return {name for (name,) in session.execute(query, parameters)}


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Database:
    if postgres.binaries() is None:
        pytest.skip("PostgreSQL is not installed")
    return Database(tmp_path_factory.mktemp("owner"))


def test_every_table_is_granted_to_workers_or_listed_as_not_for_them(database: Database) -> None:
    granted = database.names(ANY_RIGHT, {"role": "dreamlayer_worker"})
    assert granted | NOT_FOR_WORKERS == database.names(TABLES)
    assert granted & NOT_FOR_WORKERS == set()


def test_web_processes_may_use_every_table(database: Database) -> None:
    assert database.names(ANY_RIGHT, {"role": "dreamlayer_web"}) == database.names(TABLES)


def test_workers_read_no_credentials(database: Database) -> None:
    credentials = {"django_session", "usersessions_usersession", "accounts_apikey", "accounts_ticket"}
    credentials |= {"mfa_authenticator", "account_emailconfirmation"}
    assert credentials <= NOT_FOR_WORKERS
    assert database.names(READABLE, ["accounts_user"]) == {"id"}
    assert database.names(READABLE, ["dreamlayer_cache"]) == {"expires"}  # used codes are in its other columns
    with psycopg.connect(database.url_of("worker"), autocommit=True) as session:
        for query in (
            "SELECT password FROM accounts_user",
            "SELECT * FROM django_session",
            "SELECT * FROM accounts_apikey",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                session.execute(query)


@pytest.mark.parametrize("role", ["web", "worker"])
def test_only_the_owner_changes_the_schema_and_nobody_the_audit_log(database: Database, role: str) -> None:
    with psycopg.connect(database.url_of(role), autocommit=True) as session:
        for statement in (
            "CREATE TABLE mine (id int)",
            "CREATE TEMPORARY TABLE mine (id int)",
            "ALTER TABLE inpainting_generation ADD COLUMN mine int",
            "TRUNCATE inpainting_generation",
            "DELETE FROM accounts_auditentry",
            "UPDATE accounts_auditentry SET note = ''",
            "DELETE FROM django_migrations",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                session.execute(statement)


@pytest.mark.django_db
def test_what_a_worker_does_for_an_owner_reads_its_number_alone(
    alice: User, bob: User, hole: NDArray[np.uint8]
) -> None:
    """Its role may read no other column, such as the password. SQLite has no roles; there the statements show it."""
    Retention.set(None, 1)
    long_ago = timezone.now() - timedelta(days=3)
    StepMask.from_pixels(alice, hole).save(force_insert=True)
    StepMask.objects.update(created_at=long_ago)
    DraftImage.from_file(bob, ContentFile(b"a"), sha256="0" * 64, extension="png", size=Size(1, 1)).save()
    DraftImage.objects.update(created_at=long_ago)
    Draft.objects.create(owner=alice, document="{}")
    Draft.objects.update(saved_at=long_ago)
    with CaptureQueriesContext(connection) as queries:
        sweep(timezone.now())
        check_upload(StepMask(owner_id=alice.pk, byte_count=1))
    assert not StepMask.objects.exists()
    assert not DraftImage.objects.exists()
    assert Draft.objects.get().document == ""
    of_users = [query["sql"] for query in queries if "accounts_user" in query["sql"]]
    assert len(of_users) >= 4
    assert [sql for sql in of_users if "password" in sql] == []


@contextmanager
def receiver() -> Iterator[tuple[str, list[str]]]:
    """The URL of a server that accepts webhooks, and the signatures that it gets."""
    signatures: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            signatures.append(self.headers["webhook-signature"])
            self.send_response(204)
            self.end_headers()

        def log_message(self, *arguments: Any) -> None:
            """Log nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/", signatures
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.full
def test_a_site_with_these_roles_serves_paints_sends_webhooks_and_deletes(
    database: Database, tmp_path: Path, photo_png: bytes, mask_png: bytes
) -> None:
    before = (database.server.data / "log").read_text()
    with redis_server() as redis, receiver() as (hook, signatures):
        site = Site(
            tmp_path,
            redis_url=redis.url,
            s3_url=f"file://{tmp_path}/pictures",
            database_url=database.url_of("web"),
            environment={
                "DREAMLAYER_SECRET_KEY": "of all processes, and as long as Django wants it to be",
                "DREAMLAYER_ALLOWED_NETWORKS": "127.0.0.0/8",
                "DREAMLAYER_ALLOWED_PORTS": hook.rpartition(":")[2].strip("/"),
            },
        )
        site.web.manage("shell", "--verbosity", "0", "--command", SET_PASSWORD)
        worker = site.process("worker", "--queues", "cpu,hooks", DREAMLAYER_DATABASE_URL=database.url_of("worker"))
        with site.serving(worker):
            use_the_pages(site)
            for process in (site.web, worker):
                process.manage("check_setup", "--role", "worker" if process is worker else "web")
            status, body = site.web.img2img(site.key, photo_png, mask_png, webhook_url=hook)
            assert (status, body["status"]) == (200, "success"), body
            site.web.wait_until(lambda: signatures)
            headers = {"X-API-Key": site.key}
            found = requests.post(
                f"{site.web.url}/api/masks/",
                headers=headers,
                files={"image": photo_png},
                data={"points": "[[48, 30]]"},
                timeout=60,
            )
            assert found.status_code in (200, 201, 202), found.text
            site.accept(photo_png, mask_png)
            site.web.manage("set_retention", "1")
            age = "UPDATE inpainting_generation SET finished_at = now() - interval '3 days' WHERE status = 'succeeded'"
            database.execute(database.server.url, age)
        worker.manage("shell", "--verbosity", "0", "--command", SWEEP)
        (left,) = site.rows("SELECT count(*) FROM inpainting_generation WHERE finished_at < now() - interval '2 days'")
        assert left == (0,)
    assert "permission denied" not in (database.server.data / "log").read_text()[len(before) :]
    assert "permission denied" not in site.web.log + worker.log


def use_the_pages(site: Site) -> None:
    """Sign in, and open the pages of an account."""
    session = requests.Session()
    page = session.get(f"{site.web.url}/accounts/login/", timeout=60)
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page.text)
    assert token
    form = {"csrfmiddlewaretoken": token[1], "login": "alice@example.com", "password": PASSWORD}
    assert session.post(page.url, data=form, timeout=60).status_code == 200
    for path in ("/", "/history/", "/account/", "/accounts/sessions/", "/api/generations/", "/api/usage/"):
        answer = session.get(f"{site.web.url}{path}", timeout=60)
        assert (path, answer.status_code, answer.url) == (path, 200, f"{site.web.url}{path}")
