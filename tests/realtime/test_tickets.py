"""Programs open a websocket with a ticket: issued for an API key, valid for one socket and one minute."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from channels.db import database_sync_to_async as in_database
from django.db import connection
from django.test import Client
from django.utils import timezone

from accounts.models import ApiKey, Scope, Ticket, User
from inpainting.models import Generation
from inpainting.realtime.consumers import NOT_FOUND
from tests.realtime.sockets import close_code, session_socket, signed_in, ticket_socket

pytestmark = pytest.mark.django_db(transaction=True)


def request_ticket(key: str, **options: Any) -> Any:
    return Client(headers={"X-API-Key": key}).post("/api/tickets/", **options)


def ticket_of(user: User) -> str:
    return Ticket.issue(ApiKey.issue(user)[0])


async def test_a_program_receives_the_events_of_its_owners_generations(alices_key: str, waiting: Generation) -> None:
    answer = await in_database(request_ticket)(alices_key)
    body = answer.json()
    assert (answer.status_code, answer["Cache-Control"], body["expires_in"]) == (201, "no-store", 60)
    assert body["url"] == f"ws://testserver/ws/generations/?ticket={body['ticket']}"
    socket = ticket_socket(body["ticket"])
    assert (await socket.connect())[0]
    assert (await socket.receive_json_from())["id"] == str(waiting.pk)
    await socket.disconnect()


def test_behind_tls_the_url_is_wss(alices_key: str) -> None:
    assert request_ticket(alices_key, secure=True).json()["url"].startswith("wss://testserver/")


async def test_a_ticket_opens_one_socket(alice: User, waiting: Generation) -> None:
    ticket = await in_database(ticket_of)(alice)
    first, second = (ticket_socket(ticket, f"/ws/generations/{waiting.pk}/") for _ in range(2))
    assert (await first.connect())[0]
    assert not (await second.connect())[0]
    assert (await first.receive_json_from())["type"] == "queued"
    await first.disconnect()


def test_concurrent_redemptions_of_one_ticket_succeed_once(alice: User) -> None:
    ticket = ticket_of(alice)

    def redeemed(_: int) -> bool:
        try:
            return Ticket.redeem(ticket) is not None
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(redeemed, range(16))) == 1


async def test_an_expired_ticket_is_refused_and_deleted(alice: User) -> None:
    ticket = await in_database(ticket_of)(alice)
    await in_database(Ticket.objects.update)(expires_at=timezone.now())
    assert not (await ticket_socket(ticket).connect())[0]
    await in_database(ticket_of)(alice)
    assert await in_database(Ticket.objects.count)() == 1


@pytest.mark.parametrize("ticket", ["", "made-up", "dl_live_00000000_x"])
async def test_an_unknown_ticket_is_refused(alice: User, ticket: str) -> None:
    assert not (await ticket_socket(ticket).connect())[0]


async def test_a_connection_with_neither_ticket_nor_origin_is_refused(alice: User) -> None:
    socket = await in_database(session_socket)(alice, origin=(b"x-origin", b""))
    assert not (await socket.connect())[0]


@pytest.mark.parametrize("origin", [b"https://elsewhere.example", b"null", b""])
async def test_a_page_of_another_origin_cannot_use_a_ticket(alice: User, origin: bytes) -> None:
    ticket = await in_database(ticket_of)(alice)
    assert not (await ticket_socket(ticket, headers=[(b"origin", origin)]).connect())[0]
    assert await in_database(Ticket.objects.count)() == 1  # and does not use it up


async def test_a_ticket_does_not_open_another_users_generation(bob: User, waiting: Generation) -> None:
    socket = ticket_socket(await in_database(ticket_of)(bob), f"/ws/generations/{waiting.pk}/")
    await socket.connect()
    assert await close_code(socket) == NOT_FOUND


@pytest.mark.parametrize("change", ["revoked_at", "expires_at", "scopes"])
async def test_the_ticket_of_a_key_without_read_scope_is_refused(alice: User, change: str) -> None:
    ticket = await in_database(ticket_of)(alice)
    value = [Scope.GENERATE] if change == "scopes" else timezone.now() - timedelta(seconds=1)
    await in_database(ApiKey.objects.update)(**{change: value})
    assert not (await ticket_socket(ticket).connect())[0]


def test_clients_that_get_no_ticket(alice: User, db: None) -> None:
    narrow = ApiKey.issue(alice, scopes=[Scope.GENERATE, Scope.MANAGE])[1]
    answers = [request_ticket(narrow), signed_in(alice).post("/api/tickets/"), Client().post("/api/tickets/")]
    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [
        (403, "scope_missing"),
        (403, "key_required"),
        (401, "key_missing"),
    ]


def test_only_the_hash_of_a_ticket_is_stored(alice: User) -> None:
    text = ticket_of(alice)
    assert text not in str(Ticket.objects.values().get())
