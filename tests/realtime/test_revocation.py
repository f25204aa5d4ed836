"""Sockets are closed when their authorization ends: at once where it is revoked, or at the next periodic check."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta

import pytest
from channels.db import database_sync_to_async as in_database
from django.contrib.sessions.models import Session
from django.db import DatabaseError, InterfaceError
from django.test import Client
from django.utils import timezone

from accounts import socket_revocation
from accounts.models import ApiKey, Scope, Ticket, User
from inpainting.generations.delete import delete
from inpainting.models import Generation
from inpainting.realtime import events
from inpainting.realtime.consumers import BROKEN, NOT_FOUND, SIGNED_OUT, GenerationConsumer
from tests.realtime.sockets import close_code, session_socket, signed_in, ticket_socket

pytestmark = pytest.mark.django_db(transaction=True)
PATHS = ["/ws/generations/", "/ws/generations/{}/"]


@pytest.fixture
def _rechecking_often(settings: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the periodic check: nothing is sent over the channel layer."""
    settings.LIVE_RECHECK_SECONDS = 0.05  # type: ignore[attr-defined]
    monkeypatch.setattr(socket_revocation, "close_sockets", lambda group: None)


@pytest.mark.parametrize("path", PATHS)
async def test_signing_out_closes_the_sockets_of_that_session_at_once(
    path: str, alice: User, waiting: Generation
) -> None:
    path = path.format(waiting.pk)
    here, elsewhere = await in_database(signed_in)(alice), await in_database(signed_in)(alice)
    socket, other = await in_database(session_socket)(here, path), await in_database(session_socket)(elsewhere, path)
    for client in (socket, other):
        await client.connect()
        await client.receive_json_from()
    await in_database(here.post)("/accounts/logout/")
    assert await close_code(socket) == SIGNED_OUT
    assert await other.receive_nothing()
    await other.disconnect()


@pytest.mark.parametrize("path", PATHS)
async def test_revoking_a_key_closes_its_sockets_at_once(path: str, alice: User, waiting: Generation) -> None:
    key, _ = await in_database(ApiKey.issue)(alice)
    socket = ticket_socket(await in_database(Ticket.issue)(key), path.format(waiting.pk))
    await socket.connect()
    await socket.receive_json_from()
    await in_database(key.revoke)()
    assert await close_code(socket) == SIGNED_OUT


def signs_out(alice: User, client: Client) -> None:
    client.post("/accounts/logout/")


def loses_the_session(alice: User, client: Client) -> None:
    Session.objects.all().delete()


def has_another_password(alice: User, client: Client) -> None:
    alice.set_password("a new horse")
    alice.save()


def is_deactivated(alice: User, client: Client) -> None:
    User.objects.filter(pk=alice.pk).update(is_active=False)


@pytest.mark.usefixtures("_rechecking_often")
@pytest.mark.parametrize("what", [signs_out, loses_the_session, has_another_password, is_deactivated])
async def test_the_periodic_check_closes_the_socket_of_a_page(
    what: Callable[[User, Client], None], alice: User, waiting: Generation
) -> None:
    client = await in_database(signed_in)(alice)
    socket = await in_database(session_socket)(client, f"/ws/generations/{waiting.pk}/")
    await socket.connect()
    await socket.receive_json_from()
    assert await socket.receive_nothing(timeout=0.3)  # checked several times without being closed
    await in_database(what)(alice, client)
    assert await close_code(socket) == SIGNED_OUT


def revoke(key: ApiKey) -> None:
    key.revoke()


def expire(key: ApiKey) -> None:
    ApiKey.objects.filter(pk=key.pk).update(expires_at=timezone.now() - timedelta(seconds=1))


def narrow(key: ApiKey) -> None:
    ApiKey.objects.filter(pk=key.pk).update(scopes=[Scope.GENERATE])


def delete_key(key: ApiKey) -> None:
    ApiKey.objects.filter(pk=key.pk).delete()


def deactivate_owner(key: ApiKey) -> None:
    User.objects.filter(pk=key.owner_id).update(is_active=False)


@pytest.mark.usefixtures("_rechecking_often")
@pytest.mark.parametrize("what", [revoke, expire, narrow, delete_key, deactivate_owner])
async def test_the_periodic_check_closes_the_socket_of_a_program(
    what: Callable[[ApiKey], None], alice: User, waiting: Generation
) -> None:
    key, _ = await in_database(ApiKey.issue)(alice)
    socket = ticket_socket(await in_database(Ticket.issue)(key))
    await socket.connect()
    await socket.receive_json_from()
    assert await socket.receive_nothing(timeout=0.3)
    await in_database(what)(key)
    assert await close_code(socket) == SIGNED_OUT


@pytest.mark.usefixtures("_rechecking_often")
async def test_the_socket_of_a_generation_that_is_deleted_closes(alice: User, waiting: Generation) -> None:
    socket = await in_database(session_socket)(alice, f"/ws/generations/{waiting.pk}/")
    await socket.connect()
    await socket.receive_json_from()
    assert await in_database(delete)(waiting)
    assert await close_code(socket) == NOT_FOUND


@pytest.mark.usefixtures("_rechecking_often")
@pytest.mark.parametrize(("wrong", "stays"), [(DatabaseError, True), (InterfaceError, True), (RuntimeError, False)])
async def test_a_socket_stays_open_while_the_database_fails_and_is_closed_on_other_errors(
    wrong: type[Exception], stays: bool, alice: User, waiting: Generation, monkeypatch: pytest.MonkeyPatch
) -> None:
    socket = await in_database(session_socket)(alice, f"/ws/generations/{waiting.pk}/")
    await socket.connect()
    await socket.receive_json_from()
    checked, refusal = asyncio.Event(), GenerationConsumer.refusal

    async def fails_once(self: GenerationConsumer) -> int | None:
        if not checked.is_set():
            checked.set()
            raise wrong("gone")
        return await refusal(self)

    monkeypatch.setattr(GenerationConsumer, "refusal", fails_once)
    await checked.wait()
    assert await in_database(delete)(waiting)
    assert await close_code(socket) == (NOT_FOUND if stays else BROKEN)


def delete_it(alice: User, generation: Generation) -> None:
    assert delete(generation)


def deactivate_its_owner(alice: User, generation: Generation) -> None:
    alice.is_active = False
    alice.save()


@pytest.mark.parametrize(("what", "code"), [(delete_it, NOT_FOUND), (deactivate_its_owner, SIGNED_OUT)])
async def test_authorization_lost_while_connecting_closes_the_socket(
    what: Callable[[User, Generation], None],
    code: int,
    alice: User,
    waiting: Generation,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    join = GenerationConsumer.join_groups

    async def lost_before(self: GenerationConsumer) -> None:
        await in_database(what)(alice, waiting)
        await join(self)

    monkeypatch.setattr(GenerationConsumer, "join_groups", lost_before)
    socket = await in_database(session_socket)(alice, f"/ws/generations/{waiting.pk}/")
    await socket.connect()
    assert await close_code(socket) == code


async def test_events_during_the_authorization_check_are_not_sent_to_a_refused_client(
    alice: User, bob: User, waiting: Generation, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusal = GenerationConsumer.refusal

    async def meanwhile(self: GenerationConsumer) -> int | None:
        await in_database(events.publish)(waiting.pk, alice.pk, events.running())
        return await refusal(self)

    monkeypatch.setattr(GenerationConsumer, "refusal", meanwhile)
    socket = await in_database(session_socket)(bob, f"/ws/generations/{waiting.pk}/")
    await socket.connect()
    assert await socket.receive_output() == {"type": "websocket.close", "code": NOT_FOUND}
    assert await socket.receive_nothing()
