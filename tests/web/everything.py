"""One row of every model that belongs to a user, and how each model leads to its user."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import numpy as np
from allauth.account.models import EmailAddress, EmailConfirmation
from allauth.usersessions.models import UserSession
from django.apps import apps
from django.contrib.admin.models import CHANGE, LogEntry
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db.models import Model, QuerySet
from django.utils import timezone

from accounts.audit import Action
from accounts.models import ApiKey, AuditEntry, Ticket, User
from inpainting.core.codecs import encode_png
from inpainting.core.image import CanonicalImage
from inpainting.generations import shares, stack_shares, stacks
from inpainting.models import (
    AnalysisMask,
    Batch,
    Draft,
    DraftImage,
    Generation,
    IdempotencyKey,
    Retention,
    ServiceOptions,
    StackShare,
    StepMask,
    UploadedImage,
    UserLimits,
    WebhookAttempt,
    WebhookDelivery,
    WebhookPause,
    WebhookSecret,
)
from tests.accounts.codes import add_app
from tests.support.analyses import queued

Generate = Callable[..., Generation]


def ways_to_user() -> dict[type[Model], str]:
    """The models whose rows belong to a user, and the lookup from each to its user: the shortest one."""
    ways: dict[type[Model], str] = {User: "pk"}
    found: list[type[Model]] = [User]
    while found:
        owner = found.pop(0)
        for model in apps.get_models():
            for field in model._meta.concrete_fields:
                if field.related_model is owner and model not in ways:
                    ways[model] = field.name if owner is User else f"{field.name}__{ways[owner]}"
                    found.append(model)
    ways[AuditEntry] = "subject"  # rather than the administrator
    return ways


def rows_of(user: User, model: type[Model]) -> QuerySet[Any]:
    return model._default_manager.filter(**{ways_to_user()[model]: user.pk})


def with_everything(user: User, generate: Generate, batch_of: Callable[..., Batch], photo: Any) -> Generation:
    """Give the user a row of every model; returns a generation with a result."""
    generation = generate(user, prompt="a lawn", control_image=CanonicalImage(photo))
    generate(user, run=False)  # queued
    batch_of(generation)
    IdempotencyKey.objects.create(owner=user, key="once", digest="0" * 64, generation=generation)
    shares.share(generation.images.get(), days=1)
    UploadedImage.from_image(user, CanonicalImage(photo), expires_at=timezone.now() + timedelta(days=1)).save()
    found = AnalysisMask(analysis=queued(user, encode_png(CanonicalImage(photo))), index=0)
    found.write(encode_png(CanonicalImage(photo)), CanonicalImage(photo))
    found.save()
    stack_shares.share(user, stacks.store(user, generation), days=1)
    stacks.store_mask(user, np.zeros((8, 8), np.uint8))
    draft = DraftImage(owner=user, sha256="0" * 64, byte_count=4, width=1, height=1)
    draft.file.save("picture.jpeg", ContentFile(b"jpeg"))
    Draft.objects.create(owner=user, document='{"version": 1}').images.add(draft)
    Retention.set(user, 30)
    UserLimits.objects.create(user=user, per_day=5)
    delivery = WebhookDelivery.create_test(user, "https://alice.example/hook")
    WebhookAttempt.objects.create(delivery=delivery, status=500, milliseconds=7)
    WebhookPause.begin(delivery)
    WebhookSecret.current(user)
    ServiceOptions.store(user, "", "automatic1111", {"sd_vae": None})
    Ticket.issue(ApiKey.issue(user, name="script")[0])
    address = EmailAddress.objects.create(user=user, email=user.email, primary=True, verified=True)
    EmailConfirmation.create(address)
    add_app(user)
    UserSession.objects.create(user=user, ip="192.0.2.1", session_key=f"of {user.pk}", user_agent="Firefox")
    AuditEntry.record(user, Action.CHANGED, user, subject=user.pk)
    LogEntry.objects.create(user=user, action_flag=CHANGE, object_repr="a row of Django's own log")
    return generation


def files_of(user: User) -> set[str]:
    """The names of all stored files that rows of the user refer to."""
    models: list[Any] = [DraftImage, StackShare, StepMask, UploadedImage]
    images: list[Any] = [image for model in models for image in model.objects.filter(owner=user)]
    for generation in Generation.objects.filter(owner=user):
        images += [*generation.inputs.values(), *generation.images.all()]
    stored = [getattr(image, field, None) for image in images for field in ("file", "thumbnail")]
    names = {file.name for file in stored if file}
    assert all(default_storage.exists(name) for name in names)
    return names
