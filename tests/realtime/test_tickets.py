"""Programs open a websocket with a ticket: made with a key, good for one socket and for a minute."""

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
from tests.realtime.sockets import closed_with, signed_in, socket_of, socket_with

pytestmark = pytest.mark.django_db(transaction=True)


def asked(key: str, **options: Any) -> Any:
    return Client(headers={"X-API-Key": key}).post("/api/tickets/", **options)


def ticket_of(user: User) -> str:
    return Ticket.issue(ApiKey.issue(user)[0])


async def test_a_program_hears_of_its_owners_generations(alices_key: str, waiting: Generation) -> None:
    answer = await in_database(asked)(alices_key)
    said = answer.json()
    assert (answer.status_code, answer["Cache-Control"], said["expires_in"]) == (201, "no-store", 60)
    assert said["url"] == f"ws://testserver/ws/generations/?ticket={said['ticket']}"
    socket = socket_with(said["ticket"])
    assert (await socket.connect())[0]
    assert (await socket.receive_json_from())["id"] == str(waiting.pk)
    await socket.disconnect()


def test_behind_tls_the_address_is_one_with_tls(alices_key: str) -> None:
    assert asked(alices_key, secure=True).json()["url"].startswith("wss://testserver/")


async def test_a_ticket_opens_one_socket(alice: User, waiting: Generation) -> None:
    ticket = await in_database(ticket_of)(alice)
    first, second = (socket_with(ticket, f"/ws/generations/{waiting.pk}/") for _ in range(2))
    assert (await first.connect())[0]
    assert not (await second.connect())[0]
    assert (await first.receive_json_from())["type"] == "queued"
    await first.disconnect()


def test_of_many_who_bring_the_same_ticket_at_once_one_gets_in(alice: User) -> None:
    ticket = ticket_of(alice)

    def redeemed(_: int) -> bool:
        try:
            return Ticket.redeem(ticket) is not None
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(redeemed, range(16))) == 1


async def test_an_old_ticket_opens_nothing_and_is_forgotten(alice: User) -> None:
    ticket = await in_database(ticket_of)(alice)
    await in_database(Ticket.objects.update)(expires_at=timezone.now())
    assert not (await socket_with(ticket).connect())[0]
    await in_database(ticket_of)(alice)
    assert await in_database(Ticket.objects.count)() == 1


@pytest.mark.parametrize("ticket", ["", "made-up", "dl_live_00000000_x"])
async def test_what_is_no_ticket_opens_nothing(alice: User, ticket: str) -> None:
    assert not (await socket_with(ticket).connect())[0]


async def test_nobody_connects_with_neither_ticket_nor_origin(alice: User) -> None:
    socket = await in_database(socket_of)(alice, origin=(b"x-origin", b""))
    assert not (await socket.connect())[0]


@pytest.mark.parametrize("origin", [b"https://elsewhere.example", b"null", b""])
async def test_a_foreign_page_cannot_use_a_ticket(alice: User, origin: bytes) -> None:
    ticket = await in_database(ticket_of)(alice)
    assert not (await socket_with(ticket, headers=[(b"origin", origin)]).connect())[0]
    assert await in_database(Ticket.objects.count)() == 1  # nor use it up


async def test_a_ticket_does_not_open_somebody_elses(bob: User, waiting: Generation) -> None:
    socket = socket_with(await in_database(ticket_of)(bob), f"/ws/generations/{waiting.pk}/")
    await socket.connect()
    assert await closed_with(socket) == NOT_FOUND


@pytest.mark.parametrize("change", ["revoked_at", "expires_at", "scopes"])
async def test_the_ticket_of_a_key_that_may_not_read_opens_nothing(alice: User, change: str) -> None:
    ticket = await in_database(ticket_of)(alice)
    value = [Scope.GENERATE] if change == "scopes" else timezone.now() - timedelta(seconds=1)
    await in_database(ApiKey.objects.update)(**{change: value})
    assert not (await socket_with(ticket).connect())[0]


def test_who_gets_none(alice: User, db: None) -> None:
    narrow = ApiKey.issue(alice, scopes=[Scope.GENERATE, Scope.MANAGE])[1]
    answers = [asked(narrow), signed_in(alice).post("/api/tickets/"), Client().post("/api/tickets/")]
    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [
        (403, "scope_missing"),
        (403, "key_required"),
        (401, "key_missing"),
    ]


def test_only_the_hash_of_a_ticket_is_kept(alice: User) -> None:
    text = ticket_of(alice)
    assert text not in str(Ticket.objects.values().get())
