"""A response that waits for a result has no thread, and ends with its connection."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer
from channels.testing import ApplicationCommunicator
from django.db import OperationalError
from django.test import Client
from rest_framework.request import Request

from dreamlayer_site.asgi import application
from dreamlayer_site.server import later_responses
from dreamlayer_site.server.later_responses import LaterResponseMiddleware
from inpainting.api import concurrency_limits, later_response, views
from inpainting.api.compat.deep_image import dialect as deep_image_dialect
from inpainting.api.native.dialect import NativeApi
from inpainting.core.image import CanonicalImage, Mask
from inpainting.generations import analyses, submit
from inpainting.generations.delete import delete_all_of_user
from inpainting.models import Analysis, Generation
from inpainting.realtime import events
from inpainting.realtime.following import follow
from inpainting.segmenters import registry
from inpainting.segmenters.base import Selection
from inpainting.segmenters.grabcut import GrabCut
from inpainting.worker import poller, waiters
from inpainting.worker.waiters import wait_until_ended
from tests.api.bodies import shape_c, text
from tests.compat import deep_image
from tests.compat.arrival import Clock

pytestmark = pytest.mark.django_db(transaction=True)
PATIENCE_SECONDS = 60


@pytest.fixture(autouse=True)
def _no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submit, "notify_workers", lambda queue: None)


class Caller(ApplicationCommunicator):  # type: ignore[misc]  # channels ships no types
    """A client of `POST /api/img2img`, or of another path."""

    def __init__(self, key: str, body: dict[str, Any], path: str = "/api/img2img", **headers: str) -> None:
        content = json.dumps(body).encode()
        sent = {
            "Host": "localhost",
            "Content-Type": "application/json",
            "Content-Length": str(len(content)),
            "X-API-Key": key,
            **headers,
        }
        scope = {
            "type": "http",
            "method": "POST",
            "path": path,
            "query_string": b"",
            "headers": [(name.lower().encode(), value.encode()) for name, value in sent.items()],
        }
        super().__init__(application, scope)
        self.content = content

    async def send(self) -> None:
        await self.send_input({"type": "http.request", "body": self.content, "more_body": False})

    async def start(self) -> Generation:
        """Send the request; return its generation once the response waits for it."""
        await self.send()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not waiters.awaited():
                await asyncio.sleep(0.01)
                assert not self.future.done() or self.future.exception() is None
        (pk,) = waiters.awaited()
        return await Generation.objects.aget(pk=pk)

    async def answer(self) -> tuple[int, dict[str, str], dict[str, Any]]:
        start = await self.receive_output(PATIENCE_SECONDS)
        body = await self.receive_output(PATIENCE_SECONDS)
        headers = {name.decode().lower(): value.decode() for name, value in start["headers"]}
        return start["status"], headers, json.loads(body["body"])


@pytest.fixture
def call(alices_key: str, photo_png: bytes, mask_png: bytes) -> Callable[..., Any]:
    @asynccontextmanager
    async def waiting_call(**headers: str) -> AsyncIterator[tuple[Caller, Generation]]:
        caller = Caller(alices_key, shape_c(photo_png, mask_png), **headers)
        try:
            yield caller, await caller.start()
        finally:
            await caller.wait(PATIENCE_SECONDS)

    return waiting_call


Call = Callable[..., Any]


async def test_the_end_of_the_generation_is_answered_with_the_headers_of_other_responses(
    call: Call, alices_program: Client
) -> None:
    async with call() as (caller, generation):
        assert await sync_to_async(generation.cancel)()
        status, headers, problem = await caller.answer()
    assert (status, problem["code"], problem["id"]) == (409, "cancelled", str(generation.pk))
    other = await sync_to_async(alices_program.post)("/api/img2img", {})
    assert headers.keys() == {"x-request-id", *(name.lower() for name in other.headers)}
    assert int(headers["content-length"]) == len(
        json.dumps(problem, separators=(",", ":"), ensure_ascii=False).encode()
    )


async def test_a_limited_wait_is_answered_with_a_202(call: Call) -> None:
    async with call(Prefer="wait=1") as (caller, generation):
        status, headers, body = await caller.answer()
    assert (status, headers["preference-applied"], body["id"]) == (202, "wait=1", str(generation.pk))


async def test_the_wait_begins_before_the_request_waits_for_its_turn(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    clock = SimpleNamespace(monotonic=lambda: now)
    waited: list[float | None] = []

    @asynccontextmanager
    async def turn(*_: object) -> AsyncIterator[None]:
        nonlocal now
        now += 18.0
        yield

    async def wait(pk: UUID, *, patience_seconds: float | None) -> bool:
        waited.append(patience_seconds)
        return await wait_until_ended(pk, patience_seconds=0.1)

    for module in (later_responses, later_response, views):
        monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(LaterResponseMiddleware, "turn", turn)
    monkeypatch.setattr(later_responses, "wait_until_ended", wait)
    async with call(Prefer="wait=25") as (caller, _):
        assert (await caller.answer())[0] == 202
    assert waited == [7.0]


async def test_the_time_for_fetching_begins_before_the_request_waits_for_its_turn(
    alices_key: str, monkeypatch: pytest.MonkeyPatch, mask_png: bytes
) -> None:
    clock = Clock(monkeypatch)
    monkeypatch.setattr(later_responses, "time", SimpleNamespace(monotonic=lambda: clock.now))
    limits = clock.let_fetching_take(monkeypatch, 3.0, mask_png)

    @asynccontextmanager
    async def turn(*_: object) -> AsyncIterator[None]:
        clock.now += 12.0
        yield

    monkeypatch.setattr(LaterResponseMiddleware, "turn", turn)
    monkeypatch.setattr(later_responses, "wait_until_ended", clock.wait)
    caller = Caller(alices_key, deep_image.inpainting(), deep_image.PROCESS)
    await caller.send()
    assert (await caller.answer())[2]["status"] == "in_progress"
    assert (limits, clock.waited) == ([8, 5], [6.0])


async def test_a_request_whose_turn_comes_too_late_is_refused(alices_key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deep_image_dialect, "ACCEPT_SECONDS", 0.05)
    monkeypatch.setattr(LaterResponseMiddleware, "turn", lambda *_: asyncio.Semaphore(0))
    caller = Caller(alices_key, deep_image.inpainting(), deep_image.PROCESS)
    await caller.send()
    status, headers, problem = await caller.answer()
    assert (status, headers["retry-after"], problem["code"]) == (503, "5", "TRY_AGAIN")
    for path in ("/api/img2img", "/api/v6/images/inpaint", deep_image.PROCESS_LATER, "/history/"):
        assert later_responses.max_turn_seconds({"path": path}) is None


async def test_a_disconnect_ends_the_wait_but_not_the_generation(call: Call) -> None:
    async with call() as (caller, generation):
        await caller.send_input({"type": "http.disconnect"})
        await caller.wait(PATIENCE_SECONDS)
        assert await caller.receive_nothing()
    assert not waiters.awaited()
    await generation.arefresh_from_db()
    assert generation.status == "queued"


@pytest.mark.parametrize(
    ("revision", "key", "ends"),
    [
        ("2026-07-28", {}, "cancelled"),
        ("2026-07-28", {"Idempotency-Key": "once"}, "queued"),
        ("2025-11-25", {}, "queued"),
    ],
)
async def test_a_disconnect_cancels_a_call_where_the_revision_of_its_protocol_says_so(
    alices_key: str, photo_png: bytes, mask_png: bytes, revision: str, key: dict[str, str], ends: str
) -> None:
    known = {"protocolVersion": revision, "clientCapabilities": {}} if revision == "2026-07-28" else {}
    meta = {f"io.modelcontextprotocol/{name}": value for name, value in known.items()}
    arguments = {"image": text(photo_png), "mask": text(mask_png)}
    params = {"name": "erase", "arguments": arguments, "_meta": meta}
    headers = {"MCP-Protocol-Version": revision, "Mcp-Method": "tools/call", "Mcp-Name": "erase", **key}
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    caller = Caller(alices_key, body, "/mcp", **headers)
    generation = await caller.start()
    await caller.send_input({"type": "http.disconnect"})
    await caller.wait(PATIENCE_SECONDS)
    await generation.arefresh_from_db()
    assert generation.status == ends


@pytest.mark.parametrize(("key", "ends"), [("", "cancelled"), ("once", "queued")])
async def test_a_disconnect_cancels_a_selection_that_no_later_request_names(
    alices_key: str, photo_png: bytes, settings: Any, monkeypatch: pytest.MonkeyPatch, key: str, ends: str
) -> None:
    class Network(GrabCut):
        def loaded(self) -> None:
            raise AssertionError("a web process loads no model")

    threads: list[int] = []
    cancel = Analysis.cancel

    def noting_cancel(analysis: Analysis) -> bool:
        threads.append(threading.get_ident())
        return cancel(analysis)

    settings.ROLE = "web"
    monkeypatch.setattr(Analysis, "cancel", noting_cancel)
    monkeypatch.setattr(analyses, "notify_workers", lambda queue: None)
    monkeypatch.setitem(registry.segmenters(), "grabcut", Network())
    body = {"image": text(photo_png), "points": [[30, 30]]}
    caller = Caller(alices_key, body, "/api/masks/", **({"Idempotency-Key": key} if key else {}))
    await caller.send()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not waiters.awaited():
            await asyncio.sleep(0.01)
    await caller.send_input({"type": "http.disconnect"})
    await caller.wait(PATIENCE_SECONDS)
    assert (await Analysis.objects.aget()).status == ends
    assert await sync_to_async(threading.get_ident)() not in threads  # of all other code of the event loop


async def test_of_five_clicks_whose_clients_leave_only_the_last_is_selected_after_the_first(
    alices_key: str, photo_png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, may_end, selected = threading.Event(), threading.Event(), []

    class Slow(GrabCut):
        def masks(self, image: CanonicalImage, selection: Selection, radii: Sequence[float]) -> list[Mask]:
            selected.append(selection.points[0].x)
            started.set()
            assert may_end.wait(PATIENCE_SECONDS)
            return super().masks(image, selection, radii)

    monkeypatch.setitem(registry.segmenters(), "grabcut", Slow())
    monkeypatch.setattr(concurrency_limits.computing, "free", 1)
    clicks = [
        Caller(alices_key, {"image": text(photo_png), "points": [[x, 30]], "store": False}, "/api/masks/")
        for x in (30, 31, 32, 33, 34)
    ]
    for click in clicks:
        await click.send()
        await until(lambda: started.is_set() and awaited() == 1)
        if click is not clicks[-1]:
            await click.send_input({"type": "http.disconnect"})
            await until(lambda: awaited() == 0)
    may_end.set()
    status, _, found = await clicks[-1].answer()
    assert (status, found["segmenter"]) == (200, "grabcut")
    for click in clicks:
        await click.wait(PATIENCE_SECONDS)
    assert selected == [30, 34]
    assert not concurrency_limits.limit_segmentations.active


def awaited() -> int:
    """How many selections are in progress whose clients are still there."""
    active = concurrency_limits.limit_segmentations.active.copy()
    return sum(not has_left() for of_user in active.values() for has_left in [*of_user])


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():
            await asyncio.sleep(0.01)


async def test_a_waiting_response_holds_neither_thread_nor_body(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    requests: list[Request] = []
    render = NativeApi.render

    def noting(self: NativeApi, generation: Generation, request: Request) -> Any:
        requests.append(request)
        return render(self, generation, request)

    monkeypatch.setattr(NativeApi, "render", noting)
    await sync_to_async(int)()  # starts the thread that all waiting requests share
    before = threading.active_count()
    async with call(Prefer="wait=1") as (caller, _):
        assert threading.active_count() <= before + 1, "its own thread, beside one of the default executor"
        await caller.answer()
    (request,) = requests
    assert not request.data
    assert not request.FILES
    assert request._request._stream.closed


async def test_a_stopping_server_answers_with_the_202_of_the_native_api(call: Call) -> None:
    async with call() as (caller, generation):
        await sync_to_async(poller.release_own)()
        status, _, body = await caller.answer()
    assert (status, body["id"], body["status"]) == (202, str(generation.pk), "processing")


async def test_a_stopping_server_answers_with_a_503_where_a_dialect_has_no_answer_before_the_end(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(NativeApi, "answers_before_the_end", False)
    async with call() as (caller, _):
        await sync_to_async(poller.release_own)()
        status, headers, problem = await caller.answer()
    assert (status, problem["code"], headers["retry-after"]) == (503, "try_again", "5")


async def test_deleting_the_generation_is_answered_as_cancelled(call: Call, alice: Any) -> None:
    async with call() as (caller, _):
        await sync_to_async(delete_all_of_user)(alice)
        status, _, problem = await caller.answer()
    assert (status, problem["code"]) == (409, "cancelled")


async def test_an_error_while_rendering_is_answered_in_the_shape_of_the_api(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: object) -> None:
        raise OperationalError("database is locked")

    async with call() as (caller, generation):
        monkeypatch.setattr(NativeApi, "render", broken)
        assert await sync_to_async(generation.cancel)()
        status, _, problem = await caller.answer()
    assert (status, problem["code"]) == (503, "try_again")


@pytest.fixture
def closed_streams(monkeypatch: pytest.MonkeyPatch) -> list[UUID]:
    """Let the native API stream events; return the generations whose streams were closed."""
    closed = []

    async def stream(pk: UUID) -> AsyncIterator[bytes]:
        try:
            async for event in follow(pk, heartbeat_seconds=0.05):
                yield b": ping" if event is None else event["type"].encode()
            yield b"end"
        finally:
            closed.append(pk)

    monkeypatch.setattr(NativeApi, "events", lambda self, generation, request: stream(generation.pk))
    return closed


async def chunk(caller: Caller) -> bytes:
    """The next chunk that is no heartbeat."""
    while (message := await caller.receive_output(PATIENCE_SECONDS))["body"] == b": ping":
        pass
    body: bytes = message["body"]
    return body


async def test_events_are_streamed_as_they_happen(call: Call, closed_streams: list[UUID]) -> None:
    await sync_to_async(int)()
    before = threading.active_count()
    async with call() as (caller, generation):
        start = await caller.receive_output(PATIENCE_SECONDS)
        headers = dict(start["headers"])
        assert (start["status"], headers[b"Content-Type"]) == (200, b"text/event-stream")
        assert b"Content-Length" not in headers
        assert headers.keys() >= {b"X-Content-Type-Options", b"Cache-Control"}
        assert (await caller.receive_output(PATIENCE_SECONDS))["body"] == b": ping"
        assert threading.active_count() <= before + 1, "its own thread, beside one of the default executor"
        assert await sync_to_async(generation.start)()
        assert await chunk(caller) == b"running"
        assert await sync_to_async(generation.advance)(1, 2)
        assert await chunk(caller) == b"progress"
        assert await sync_to_async(generation.fail)(code="crash", message="oh")
        while (last := await chunk(caller)) == b"failed":
            pass  # It is sent if it arrives before the end is noticed.
        assert last == b"end"
        assert not (await caller.receive_output(PATIENCE_SECONDS)).get("more_body")
    assert closed_streams == [generation.pk]


async def test_a_disconnect_ends_the_stream(call: Call, closed_streams: list[UUID]) -> None:
    async with call() as (caller, generation):
        assert (await caller.receive_output(PATIENCE_SECONDS))["type"] == "http.response.start"
        await caller.receive_output(PATIENCE_SECONDS)
        await caller.send_input({"type": "http.disconnect"})
        await caller.wait(PATIENCE_SECONDS)
    assert closed_streams == [generation.pk]
    assert not waiters.awaited()
    assert not get_channel_layer().groups.get(events.generation_group(generation.pk))
    await generation.arefresh_from_db()
    assert generation.status == "queued"


async def test_a_stopping_server_ends_the_stream(call: Call, closed_streams: list[UUID]) -> None:
    async with call() as (caller, _):
        await caller.receive_output(PATIENCE_SECONDS)
        await sync_to_async(poller.release_own)()
        assert await chunk(caller) == b"end"
    assert len(closed_streams) == 1


async def test_requests_with_images_take_turns_and_others_do_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(later_responses, "LARGE_AT_ONCE", 2)
    running: list[str] = []
    end = asyncio.Event()

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        running.append(scope["path"])
        await end.wait()

    middleware = LaterResponseMiddleware(handler)  # type: ignore[arg-type]  # only its call is used
    large = [(b"content-length", b"100000")]
    scopes: list[dict[str, Any]] = [{"method": "POST", "path": "/api/img2img", "headers": large} for _ in range(3)]
    scopes += [
        {"method": "POST", "path": "/api/img2img", "headers": [(b"content-length", b"100")]},
        {"method": "POST", "path": "/accounts/login/", "headers": large},
        {"method": "GET", "path": "/history/", "headers": []},
    ]
    calls = [asyncio.create_task(middleware(scope, end.wait, end.wait)) for scope in scopes]  # type: ignore[arg-type]
    await asyncio.sleep(0.05)
    assert running == ["/api/img2img"] * 3 + ["/accounts/login/", "/history/"], "the third large one waits"
    end.set()
    await asyncio.gather(*calls)
    assert len(running) == len(scopes)
