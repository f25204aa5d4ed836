"""The access matrix: every route with an object in its URL, times every actor; each cell is one exact status.

The routes are read from the URL configuration, including the admin and the websockets: a route that is not in the
matrix fails `test_every_route_with_an_object_is_in_the_matrix`. To add a route, add its row with the status for each
actor, and the reason.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, cast
from uuid import UUID

import numpy as np
import pytest
from allauth.account.forms import default_token_generator
from allauth.account.models import EmailAddress, EmailConfirmationHMAC
from allauth.account.utils import user_pk_to_url_str
from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from channels.db import database_sync_to_async
from channels.testing import WebsocketCommunicator
from django.contrib.auth.models import Group
from django.contrib.contenttypes.models import ContentType
from django.db import transaction
from django.http import HttpResponse
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils import timezone
from numpy.typing import NDArray
from rest_framework.views import APIView

from accounts import first_administrator
from accounts.audit import Action
from accounts.models import ApiKey, AuditEntry, Scope, User
from dreamlayer_site.asgi import application
from inpainting.api.compat import deep_image, fooocus, modelslab
from inpainting.api.compat.mcp import uploads
from inpainting.api.compat.modelslab.translation import RETURNED_FIELDS
from inpainting.api.media.links import SIGNER, result_link
from inpainting.core.adapter_uses import CONDITIONING_IMAGES
from inpainting.core.image import CanonicalImage
from inpainting.core.request import InpaintRequest
from inpainting.generations import shares, stacks
from inpainting.generations.review import give_verdict
from inpainting.generations.uploads import store_mask
from inpainting.models import (
    Batch,
    Generation,
    InferenceModel,
    Lora,
    Retention,
    UserLimits,
    Verdict,
    WebhookDelivery,
    Worker,
)
from inpainting.models.generation_request import NATIVE
from inpainting.realtime.consumers import NOT_FOUND
from inpainting.realtime.routing import websocket_urlpatterns
from tests.support import analyses, drafts

Cell = int | str
FOUND = {"segmenter": "grabcut", "box": [0, 0, 8, 8], "area": 64, "score": None}
OPEN = 101
"""An accepted websocket that stays open; the cell of a refused one is its close code."""
SIGN_IN = "302 to the sign-in page"

# Alice owns the objects, and all keys but bob's. On pages keys do not count.
ACTORS = (
    *("anonymous", "alice", "alice's key", "bob", "bob's key", "key of other scopes", "revoked key", "expired key"),
    *("staff without rights", "superuser"),
)
OWNERS = {"alice", "alice's key"}

# anonymous, alice, her key | bob, his key | her keys: other scopes, revoked, expired | staff, superuser
API = (401, 200, 200, 404, 404, 403, 401, 401, 404, 404)
# Deep-Image: a program needs a key; a wrong one is answered with 404.
DEEP_IMAGE = (403, 403, 200, 403, 404, 403, 404, 404, 403, 403)
# ModelsLab: a program needs a key.
MODELSLAB = (401, 401, 200, 401, 404, 403, 401, 401, 401, 401)
# The Fooocus API: no valid key is 403; an unknown task and somebody else's are answered with an empty list.
FOOOCUS = (403, 403, 200, 403, 200, 403, 403, 403, 403, 403)
# OpenAI and Hugging Face: a program needs a key; the paths name models, which belong to nobody. There is no body.
KEYED_TASK = (401, 401, 400, 401, 400, 403, 401, 401, 401, 401)
KEYED_MODEL = (401, 401, 200, 401, 200, 403, 401, 401, 401, 401)
NOT_BUILT = (401, 401, 501, 401, 501, 403, 401, 401, 401, 401)
PAGE: tuple[Cell, ...] = (SIGN_IN, 200, SIGN_IN, 404, SIGN_IN, SIGN_IN, SIGN_IN, SIGN_IN, 404, 404)
PAGE_ACTION: tuple[Cell, ...] = (SIGN_IN, 302, SIGN_IN, 404, SIGN_IN, SIGN_IN, SIGN_IN, SIGN_IN, 404, 404)
# Pages of administrators: for other users they do not exist.
STAFF_ACTION: tuple[Cell, ...] = (SIGN_IN, 404, SIGN_IN, 404, SIGN_IN, SIGN_IN, SIGN_IN, SIGN_IN, 404, 302)
SOCKET = (NOT_FOUND, OPEN, NOT_FOUND, NOT_FOUND, NOT_FOUND, NOT_FOUND, NOT_FOUND, NOT_FOUND, NOT_FOUND, NOT_FOUND)
# Signed links: any client with the link may read the object.
LINK = (200,) * 10
LINK_ON = (302,) * 10
UPLOAD = (400,) * 10  # a signed link, at which there is no body
GONE = (404,) * 10
# Images hidden by the safety checker: for their owner, too, they do not exist.
REVIEWERS = (*[404] * 9, 200)
# The admin redirects all users but staff to the sign-in page.
ADMIN: tuple[Cell, ...] = (*[SIGN_IN] * 8, 403, 200)
NEVER: tuple[Cell, ...] = (*[SIGN_IN] * 8, 403, 403)
ADMIN_HIDDEN: tuple[Cell, ...] = (*[SIGN_IN] * 8, 404, 200)
ADMIN_NOTHING: tuple[Cell, ...] = (*[SIGN_IN] * 8, 404, 404)
# The owner and others confirm who they are first; staff and superuser of this test have no password to be asked for.
CONFIRM_FIRST: tuple[Cell, ...] = (SIGN_IN, 302, SIGN_IN, 302, SIGN_IN, SIGN_IN, SIGN_IN, SIGN_IN, 404, 404)
ADMIN_ON: tuple[Cell, ...] = (*[SIGN_IN] * 8, 302, 302)


@dataclass(frozen=True)
class Row:
    """A route of the URL configuration, a path with the names of test objects in braces, and its cells."""

    route: str
    path: str
    cells: tuple[Cell, ...]
    method: str = "GET"
    scope: Scope = Scope.READ
    unknown: Cell = 404
    """Alice's status for an object that never existed; the admin redirects her to the sign-in page."""
    hides: bool = True
    """False if users without permission can find out whether the object exists."""

    def __str__(self) -> str:
        return f"{self.method} {self.route}"


ONE = "api/generations/<uuid:pk>/"
BATCH = "api/batches/<uuid:pk>/"
STACK = "api/stacks/<uuid:pk>/"
MODELS = {
    "admin/auth/group/": "group",
    "admin/account/emailaddress/": "email",
    "admin/accounts/user/": "user",
    "admin/accounts/apikey/": "key",
    "admin/mfa/authenticator/": "passkey",
    "admin/usersessions/usersession/": "session",
    "admin/inpainting/batch/": "batch",
    "admin/inpainting/analysis/": "analysis",
    "admin/accounts/auditentry/": "entry",
    "admin/inpainting/inferencemodel/": "model",
    "admin/inpainting/lora/": "lora",
    "admin/inpainting/retention/": "retention",
    "admin/inpainting/userlimits/": "limits",
    "admin/inpainting/webhookdelivery/": "delivery",
}
ROWS = [
    Row("generations/<uuid:pk>/", "/generations/{generation}/", PAGE),
    Row("batches/<uuid:pk>/", "/batches/{batch}/", PAGE),
    Row("generations/<uuid:pk>/share/", "/generations/{generation}/share/", PAGE_ACTION, method="POST"),
    Row("stacks/<uuid:pk>/share/", "/stacks/{stack}/share/", PAGE),
    Row("stacks/<uuid:pk>/share/", "/stacks/{stack}/share/", PAGE_ACTION, method="POST"),
    Row("shares/<uuid:pk>/revoke/", "/shares/{share}/revoke/", PAGE_ACTION, method="POST"),
    *(
        Row(f"shared/<str:token>/{part}", f"/shared/{{shared}}/{part}", LINK)
        for part in ("", "picture/", "preview/", "before/")
    ),
    Row("generations/<uuid:pk>/hidden/<int:index>/", "/generations/{hidden}/hidden/0/", REVIEWERS),
    Row(ONE, "/api/generations/{generation}/", API),
    Row(ONE + "cancel/", "/api/generations/{waiting}/cancel/", API, method="POST", scope=Scope.GENERATE),
    # A queued generation; each owner deletes a separate one.
    Row(ONE, "/api/generations/{waiting}/", (401, 204, 204, *API[3:]), method="DELETE", scope=Scope.MANAGE),
    Row(
        ONE + "run-again/",
        "/api/generations/{generation}/run-again/",
        (401, 202, 202, *API[3:]),
        method="POST",
        scope=Scope.GENERATE,
    ),
    Row(ONE + "source/", "/api/generations/{generation}/source/", API),
    Row(ONE + "source/preview/", "/api/generations/{generation}/source/preview/", API),
    Row(ONE + "source/thumbnail/", "/api/generations/{generation}/source/thumbnail/", API),
    Row(ONE + "mask/", "/api/generations/{generation}/mask/", API),
    Row(ONE + "mask/preview/", "/api/generations/{generation}/mask/preview/", API),
    *(
        Row(f"{ONE}<conditioning_image:name>/{view}", f"/api/generations/{{generation}}/control-image-2/{view}", API)
        for view in ("", "preview/")
    ),
    Row(ONE + "images/<int:index>/", "/api/generations/{generation}/images/0/", API),
    Row(ONE + "images/<int:index>/thumbnail/", "/api/generations/{generation}/images/0/thumbnail/", API),
    Row(ONE + "images/<int:index>/preview/", "/api/generations/{generation}/images/0/preview/", API),
    Row(ONE + "stack/", "/api/generations/{generation}/stack/", API),
    Row(STACK, "/api/stacks/{stack}/", API),
    # Without a body: whose stack it is comes first.
    Row(STACK, "/api/stacks/{stack}/", (401, 400, 400, *API[3:]), method="PATCH", scope=Scope.MANAGE),
    Row(STACK + "image/", "/api/stacks/{stack}/image/", API),
    Row(STACK + "masks/", "/api/stacks/{stack}/masks/", (401, 400, 400, *API[3:]), method="POST", scope=Scope.MANAGE),
    Row(STACK + "masks/<uuid:mask>/", "/api/stacks/{stack}/masks/{step_mask}/", API),
    Row(BATCH, "/api/batches/{batch}/", API),
    Row(BATCH + "results.zip", "/api/batches/{batch}/results.zip", API),
    Row(BATCH + "cancel/", "/api/batches/{open_batch}/cancel/", API, method="POST", scope=Scope.GENERATE),
    Row(
        BATCH + "retry/",
        "/api/batches/{open_batch}/retry/",
        (401, 202, 202, *API[3:]),
        method="POST",
        scope=Scope.GENERATE,
    ),
    Row(BATCH, "/api/batches/{open_batch}/", (401, 204, 204, *API[3:]), method="DELETE", scope=Scope.MANAGE),
    Row("api/analyses/<uuid:pk>/", "/api/analyses/{analysis}/", API),
    # Alice cancels or deletes it first, which her key then cannot.
    Row(
        "api/analyses/<uuid:pk>/cancel/",
        "/api/analyses/{analysis}/cancel/",
        (401, 200, 409, *API[3:]),
        method="POST",
        scope=Scope.GENERATE,
    ),
    Row(
        "api/analyses/<uuid:pk>/",
        "/api/analyses/{analysis}/",
        (401, 204, 404, *API[3:]),
        method="DELETE",
        scope=Scope.MANAGE,
    ),
    Row("api/masks/<uuid:pk>/", "/api/masks/{mask}/", API),
    Row("api/masks/<uuid:pk>/file/", "/api/masks/{mask}/file/", API),
    # Alice deletes it first, so it is not there any more for her key.
    Row("api/masks/<uuid:pk>/", "/api/masks/{mask}/", (401, 204, 404, *API[3:]), method="DELETE", scope=Scope.MANAGE),
    Row("api/draft/pictures/<sha256:sha256>/", "/api/draft/pictures/{sha256}/", API),
    Row("api/draft/pictures/<sha256:sha256>/png/", "/api/draft/pictures/{sha256}/png/", API),
    # An empty file, which everybody may send: of two users with the same image, each uploads it.
    Row(
        "api/draft/pictures/<sha256:sha256>/",
        "/api/draft/pictures/{sha256}/",
        (401, 400, 400, 400, 400, 403, 401, 401, 400, 400),
        method="PUT",
        scope=Scope.MANAGE,
        unknown=400,
    ),
    Row(
        "api/webhooks/deliveries/<str:webhook_id>/resend/",
        "/api/webhooks/deliveries/{webhook}/resend/",
        API,
        method="POST",
        scope=Scope.MANAGE,
    ),
    *(
        Row(
            f"{prefix}{group}/fetch/<str:number>{slash}",
            f"/{prefix}{group}/fetch/{{number}}{slash}",
            MODELSLAB,
            method="POST",
            unknown=401,
        )
        for prefix, groups in {
            **dict.fromkeys(("api/v6/", "api/v1/enterprise/"), ("images", "image_editing")),
            "api/v7/": ("images",),
        }.items()
        for group in groups
        for slash in ("", "/")
    ),
    Row(r"^rest_api/result/(?P<job>[^/]+)/?$", "/rest_api/result/{generation}", DEEP_IMAGE, unknown=403),
    Row(
        r"^rest_api/result/(?P<job>[^/]+)/?$",
        "/rest_api/result/{waiting}",
        DEEP_IMAGE,
        method="DELETE",
        scope=Scope.MANAGE,
        unknown=403,
    ),
    Row(r"^tasks/(?P<task_id>[^/]+)/?$", "/tasks/{generation}", FOOOCUS, unknown=403),
    *(
        Row(
            rf"^(?:(?:openai/)?v1/|openai/(?:deployments/(?P<model>[^/]+)/)?)images/{route}/?$",
            f"/openai/deployments/{{slug}}/images/{name}",
            cells,
            method="POST",
            scope=Scope.GENERATE,
            unknown=401,
        )
        for route, name, cells in (
            ("(?:edits|generations)", "edits", KEYED_TASK),
            ("variations", "variations", NOT_BUILT),
        )
    ),
    Row(r"^(?:openai/)?v1/models/(?P<name>[^/]+(?:/[^/]+)?)/?$", "/v1/models/{slug}", KEYED_MODEL, unknown=401),
    Row(
        r"^hf/(?P<model>[^/]+(?:/[^/]+)?)/?$",
        "/hf/{slug}",
        KEYED_TASK,
        method="POST",
        scope=Scope.GENERATE,
        unknown=401,
    ),
    Row("mcp/uploads/<str:token>", "/mcp/uploads/{upload}", UPLOAD, method="POST"),
    Row("assets/<str:name>", "/assets/index.js", GONE),  # files of IOPaint's app, where the site shows it
    Row("images/<str:token>.<str:extension>", "/images/{token}.png", LINK),
    Row("api/images/<str:token>.<str:extension>", "/api/images/{token}.png", LINK),
    Row("<folder:folder>/<str:token>/<image_name:name>", "/outputs/2026-11-22/{named}/a.png", LINK),
    Row("keys/<int:pk>/revoke/", "/keys/{key}/revoke/", PAGE_ACTION, method="POST"),
    Row("accounts/sessions/<int:pk>/end/", "/accounts/sessions/{session}/end/", PAGE_ACTION, method="POST"),
    *(
        Row(f"models/<str:slug>/{action}/", f"/models/{{slug}}/{action}/", STAFF_ACTION, method="POST")
        for action in ("pull", "remove", "switch")
    ),
    *(
        Row(f"admin/workers/<int:pk>/{action}/", f"/admin/workers/{{worker}}/{action}/", STAFF_ACTION, method="POST")
        for action in ("drain", "resume")
    ),
    Row("setup/<str:token>/", "/setup/{setup}/", GONE),  # the link expires when the first administrator exists
    Row(r"accounts/^confirm-email/(?P<key>[-:\w]+)/$", "/accounts/confirm-email/{confirmation}/", LINK, unknown=200),
    Row(
        r"accounts/^password/reset/key/(?P<uidb36>[0-9A-Za-z]+)-(?P<key>.+)/$",
        "/accounts/password/reset/key/{reset}/",
        LINK_ON,
        unknown=200,  # allauth answers with a page about the invalid link
    ),
    *(
        Row(
            f"accounts/2fa/webauthn/keys/<int:pk>/{action}/",
            f"/accounts/2fa/webauthn/keys/{{passkey}}/{action}/",
            CONFIRM_FIRST,
            unknown=302,
        )
        for action in ("edit", "remove")
    ),
    Row("admin/accounts/user/<id>/password/", "/admin/accounts/user/{user}/password/", ADMIN),
    # The pages of the review: without the permission 403, whether or not the generation exists.
    *(
        Row(
            f"admin/inpainting/generation/<uuid:pk>/{page}",
            f"/admin/inpainting/generation/{{generation}}/{path}",
            ADMIN,
        )
        for page, path in (("change/", "change/"), ("picture/<str:which>/", "picture/source/"))
    ),
    Row(
        "admin/inpainting/generation/<uuid:pk>/verdict/",
        "/admin/inpainting/generation/{generation}/verdict/",
        (*ADMIN[:-1], 302),
        method="POST",
    ),
    *(
        row
        for base, name in MODELS.items()
        for row in (
            Row(f"{base}<path:object_id>/change/", f"/{base}{{{name}}}/change/", ADMIN),
            Row(f"{base}<path:object_id>/delete/", f"/{base}{{{name}}}/delete/", NEVER if name == "entry" else ADMIN),
            # Django checks that the object exists before it checks the permission.
            Row(f"{base}<path:object_id>/history/", f"/{base}{{{name}}}/history/", ADMIN, hides=False),
            Row(f"{base}<path:object_id>/", f"/{base}{{{name}}}/", ADMIN_ON),  # redirects to …/change/
        )
    ),
    Row("admin/r/<path:content_type_id>/<path:object_id>/", "/admin/r/{content_type}/{generation}/", ADMIN_NOTHING),
    Row(r"admin/^(?P<app_label>accounts|auth|account|mfa|usersessions|inpainting)/$", "/admin/accounts/", ADMIN_HIDDEN),
    Row(r"admin/(?P<url>.*)$", "/admin/no/such/page/", ADMIN_NOTHING),
    Row("ws/generations/<uuid:pk>/", "/ws/generations/{generation}/", SOCKET),
]
MISSING = {
    "generation": UUID(int=4 << 76 | 8 << 60),
    **dict.fromkeys(
        ("waiting", "hidden", "share", "mask", "analysis", "stack", "step_mask"), UUID(int=4 << 76 | 8 << 60)
    ),
    **dict.fromkeys(("batch", "open_batch"), UUID(int=4 << 76 | 8 << 60)),
    **dict.fromkeys(
        ("key", "user", "group", "email", "content_type", "retention", "limits", "delivery", "entry"), 999999
    ),
    "sha256": "0" * 64,
    **dict.fromkeys(("passkey", "session", "worker"), 999999),
    "model": 999999,
    "lora": 999999,
    **dict.fromkeys(
        ("token", "shared", "named", "number", "setup", "confirmation", "reset", "webhook", "slug", "upload"), "made-up"
    ),
}
HTTP_ROWS = [row for row in ROWS if not row.route.startswith("ws/")]
SOCKET_ROWS = [row for row in ROWS if row.route.startswith("ws/")]


@pytest.fixture
def waiting(alice: User, photo: NDArray[Any], hole: NDArray[Any]) -> Generation:
    generation = Generation.from_request(InpaintRequest(CanonicalImage(photo), hole), owner=alice, engine="quick-fill")
    generation.save_new()
    return generation


@pytest.fixture
def actors(alice: User, bob: User) -> Callable[[Row], dict[str, Client]]:
    """actors(row) -> a new client for each actor, in the order of the matrix."""
    staff = User.objects.create_user("staff@example.com", is_staff=True)
    boss = User.objects.create_superuser("boss@example.com")
    alices, bobs, revoked = (ApiKey.issue(owner) for owner in (alice, bob, alice))
    revoked[0].revoke()
    expired = ApiKey.issue(alice, expires_at=timezone.now() - timedelta(seconds=1))
    limited = {scope: ApiKey.issue(alice, scopes=[other for other in Scope if other != scope]) for scope in Scope}
    sessions = {user: signed_in(user).cookies for user in (alice, bob, staff, boss)}

    def in_session(user: User) -> Client:
        client = Client()
        client.cookies.update(sessions[user])
        return client

    def make(row: Row) -> dict[str, Client]:
        clients = (
            *(Client(), in_session(alice), program(alices[1])),
            *(in_session(bob), program(bobs[1])),
            *(program(key) for _, key in (limited[row.scope], revoked, expired)),
            *(in_session(staff), in_session(boss)),
        )
        return dict(zip(ACTORS, clients, strict=True))

    return make


@contextmanager
def undone() -> Iterator[None]:
    """Undo what the block does to the database."""
    savepoint = transaction.savepoint()  # atomic() would refuse the durable transactions inside
    try:
        yield
    finally:
        transaction.savepoint_rollback(savepoint)


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def program(key: str) -> Client:
    return Client(headers={"X-API-Key": key})


def test_every_actor_gets_the_expected_status_on_every_route(
    subtests: pytest.Subtests,
    actors: Callable[[Row], dict[str, Client]],
    alice: User,
    generate: Callable[..., Generation],
    batch_of: Callable[..., Batch],
    photo: NDArray[Any],
    photo_png: bytes,
) -> None:
    alice.refresh_from_db()  # signing in invalidates older password reset links
    generation = generate(alice, **dict.fromkeys(CONDITIONING_IMAGES, CanonicalImage(photo)))
    hidden = generate(alice)
    image = hidden.images.get()
    image.write_hidden(b"as it was painted")
    image.save()
    delivery = WebhookDelivery.create_test(alice, "https://alice.example/hook")
    stack = stacks.store(alice, generation).row
    assert stack is not None
    model = InferenceModel.objects.get(slug="sd15")
    model.start_pull()  # as if a pull were running: the page then starts no process
    email = EmailAddress.objects.create(user=alice, email=alice.email, primary=True)
    world = {
        "generation": generation.pk,
        "number": of_modelslab(generate(alice)).number,
        "hidden": hidden.pk,
        "batch": batch_of(generation).pk,
        "key": ApiKey.issue(alice)[0].pk,
        "passkey": Authenticator.objects.create(user=alice, type="webauthn", data={"name": "key"}).pk,
        "session": UserSession.objects.create(user=alice, ip="192.0.2.1", session_key="ended", user_agent="").pk,
        "user": alice.pk,
        "group": Group.objects.create(name="reviewers").pk,
        "email": email.pk,
        "retention": Retention.set(alice, 30).pk,
        "model": model.pk,
        "slug": model.slug,
        "worker": Worker.objects.create(name="w", parent="w", started_at=timezone.now(), seen_at=timezone.now()).pk,
        "lora": Lora.objects.create(slug="ink", label="Ink", family="sd", sha256="0" * 64, size_bytes=1).pk,
        "limits": UserLimits.objects.create(user=alice).pk,
        "content_type": ContentType.objects.get_for_model(Generation).pk,
        "delivery": delivery.pk,
        "entry": AuditEntry.record(alice, Action.ADDED, model).pk,
        "webhook": delivery.webhook_id,
        "sha256": drafts.stored(alice, photo_png),
        "analysis": analyses.queued(alice, photo_png).pk,
        "mask": store_mask(alice, np.full((8, 8), 255, np.uint8), FOUND).pk,
        "stack": stack.pk,
        "step_mask": stacks.store_mask(alice, np.full((8, 8), 255, np.uint8)).pk,
        "share": shares.share(generation.images.get(), days=1).pk,
        "shared": shares.token(shares.share(generation.images.get(), days=1, shows_source=True)),
        "token": SIGNER.sign(generation.images.get().pk.hex),
        "named": result_link("outputs/2026-11-22", "a.png", generation, origin="").split("/")[-2],
        "upload": uploads.SIGNER.sign(f"{alice.pk}-"),
        "setup": first_administrator.make_token(),
        "confirmation": EmailConfirmationHMAC(email).key,
        "reset": f"{user_pk_to_url_str(alice)}-{default_token_generator.make_token(alice)}",
    }
    for row in HTTP_ROWS:
        with subtests.test(str(row)), undone():
            check_row(row, actors(row), world, partial(generate, alice, run=False), batch_of)


def check_row(
    row: Row,
    clients: dict[str, Client],
    world: dict[str, Any],
    generate: Callable[[], Generation],
    batch_of: Callable[..., Batch],
) -> None:
    """Each actor gets its status for the row's object, and the same answer as for one that does not exist."""
    world, got, told_apart = {**world}, {}, []
    Generation.objects.filter(pk=world["generation"]).update(service=service_of(row))
    for actor in sorted(clients, key=lambda actor: actor in OWNERS):  # actors that may change the object come last
        if "{waiting}" in row.path:
            world["waiting"] = generate().pk
            Generation.objects.filter(pk=world["waiting"]).update(service=service_of(row))
        if "{open_batch}" in row.path:
            stopped = generate()
            stopped.cancel()
            world["open_batch"] = batch_of(generate(), stopped).pk
        answer = response_to(clients[actor], row, world)
        got[actor] = cell(answer)
        if got[actor] == SIGN_IN and actor != "alice":
            continue  # nothing is said about the object
        missing = response_to(clients[actor], row, {**MISSING, "content_type": world["content_type"]})
        if actor not in OWNERS and answer.status_code in (401, 403, 404) and comparable(answer) != comparable(missing):
            told_apart.append(actor)
        if actor == "alice":
            assert cell(missing) == (SIGN_IN if row.cells[1] == SIGN_IN else row.unknown)
    assert got == dict(zip(ACTORS, row.cells, strict=True))
    assert told_apart == ([] if row.hides else ["staff without rights"])


OF_A_GENERATION = ("{generation}", "{waiting}", "{number}", "{token}", "{named}")
REMOVED_ROWS = [
    row for row in HTTP_ROWS if any(name in row.path for name in OF_A_GENERATION) and not row.path.startswith("/admin/")
]


def test_what_an_administrator_removed_is_gone_for_its_owner_on_every_route(
    subtests: pytest.Subtests,
    actors: Callable[[Row], dict[str, Client]],
    alice: User,
    bob: User,
    generate: Callable[..., Generation],
    photo: NDArray[Any],
) -> None:
    generation = generate(alice, **dict.fromkeys(CONDITIONING_IMAGES, CanonicalImage(photo)))
    for_fooocus = {"request": {}, "inpaints": False, "key": None}
    generation.service_data = {**of_modelslab(generate(alice)).service_data, **for_fooocus}
    for row in REMOVED_ROWS:
        with subtests.test(str(row)), undone():
            generation.service = fooocus.DIALECT.name if row.path.startswith("/tasks/") else service_of(row)
            generation.save()
            check_removed(row, actors(row), generation, reviewer=bob)


def check_removed(row: Row, clients: dict[str, Client], generation: Generation, *, reviewer: User) -> None:
    """The owner gets 410 with the reason wherever the present generation is 200 or changed; a signed link leads to 404.

    All other users get what they get for any generation.
    """
    world = {
        **dict.fromkeys(("generation", "waiting"), generation.pk),
        "number": generation.number,
        "token": SIGNER.sign(generation.images.get().pk.hex),
        "named": result_link("outputs/2026-11-22", "a.png", generation, origin="").split("/")[-2],
    }
    give_verdict([generation.pk], Verdict.REMOVED, note="a reason of ours", by=reviewer)
    is_link, reached = row.cells == LINK, {200, 202, 204}
    for actor, expected in dict(zip(ACTORS, row.cells, strict=True)).items():
        answer = response_to(clients[actor], row, world)
        if is_link:
            assert answer.status_code == 404, actor
        elif actor in OWNERS and expected in reached:
            assert (answer.status_code, "a reason of ours" in answer.content.decode()) == (410, True), actor
        else:
            assert cell(answer) == expected, actor
    assert Generation.objects.filter(pk=generation.pk).exists(), "its images stay for the administrator"
    give_verdict([generation.pk], Verdict.FINE, note="", by=reviewer)
    if row.method == "GET" and not is_link:
        assert response_to(clients["alice's key" if row.cells[2] == 200 else "alice"], row, world).status_code == 200


def service_of(row: Row) -> str:
    """The service whose generations the route finds."""
    starts = dict.fromkeys(modelslab.DIALECT.prefixes, modelslab.DIALECT.name)
    by_start = {**starts, "/rest_api/": deep_image.DIALECT.name}
    return next((service for start, service in by_start.items() if row.path.startswith(start)), NATIVE)


def of_modelslab(generation: Generation) -> Generation:
    generation.service = modelslab.DIALECT.name
    generation.service_data = {"origin": "", "ending_key": None, **dict.fromkeys(RETURNED_FIELDS)}
    generation.save()
    return generation


def response_to(client: Client, row: Row, world: dict[str, Any]) -> HttpResponse:
    return cast("HttpResponse", client.generic(row.method, row.path.format(**world)))


def cell(answer: HttpResponse) -> Cell:
    return SIGN_IN if "/login/?next=" in answer.headers.get("Location", "") else answer.status_code


def comparable(answer: HttpResponse) -> tuple[int, str, dict[str, str]]:
    """The answer without the parts that differ each time: the nonce of the policy, the token of the form, the time, and
    the address that the caller named, to which the language menu returns; hence without the length as it was sent."""
    body = re.sub(r'(nonce|csrfmiddlewaretoken" value|name="next" value)="[^"]+"', "", answer.content.decode("latin-1"))
    compared = [header for header in answer.headers.items() if header[0] not in {"Expires", "Content-Length"}]
    headers = {name: re.sub(r"'nonce-[^']+'", "", value) for name, value in compared}
    return answer.status_code, body, headers


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("actor", ACTORS)
@pytest.mark.parametrize("row", SOCKET_ROWS, ids=str)
async def test_only_the_owner_can_open_a_socket(
    row: Row, actor: str, actors: Callable[[Row], dict[str, Client]], waiting: Generation
) -> None:
    client = (await database_sync_to_async(actors)(row))[actor]
    cookies = "; ".join(f"{name}={morsel.value}" for name, morsel in client.cookies.items())
    headers = [(b"host", b"localhost"), (b"origin", b"http://localhost"), (b"cookie", cookies.encode())]
    headers += [(b"x-api-key", value.encode()) for name, value in client.defaults.items() if name == "HTTP_X_API_KEY"]
    codes = []
    for pk in (waiting.pk, MISSING["generation"]):
        socket = WebsocketCommunicator(application, row.path.format(generation=pk), headers=headers)
        await socket.connect()
        message = await socket.receive_output()
        codes.append(message["code"] if message["type"] == "websocket.close" else OPEN)
        await socket.disconnect()
    assert codes == [dict(zip(ACTORS, row.cells, strict=True))[actor], NOT_FOUND]


def routes(resolver: URLResolver, before: str = "") -> Iterator[tuple[str, URLPattern]]:
    for entry in resolver.url_patterns:
        if isinstance(entry, URLResolver):
            yield from routes(entry, before + str(entry.pattern))
        else:
            yield before + str(entry.pattern), entry


def has_an_object(route: str, pattern: URLPattern) -> bool:
    return "<" in route or bool(pattern.pattern.regex.groups)


def methods_of(pattern: URLPattern) -> set[str]:
    """The methods of an API view; empty for other views."""
    view = getattr(pattern.callback, "cls", None) or getattr(pattern.callback, "view_class", None)
    if view is None or not issubclass(view, APIView):
        return set()
    return {name.upper() for name in view.http_method_names if hasattr(view, name)} - {"OPTIONS", "HEAD"}


def test_every_route_with_an_object_is_in_the_matrix() -> None:
    configured = [*routes(get_resolver()), *((str(entry.pattern), entry) for entry in websocket_urlpatterns)]
    listed: dict[str, set[str]] = {}
    for row in ROWS:
        listed.setdefault(row.route, set()).add(row.method)
    there = {route: methods_of(entry) for route, entry in configured if has_an_object(route, entry)}
    assert sorted(set(there) - set(listed)) == [], "add these routes to ROWS"
    assert sorted(set(listed) - set(there)) == [], "these routes no longer exist"
    for route, methods in there.items():
        assert not methods or listed[route] == methods, route
