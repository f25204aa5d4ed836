"""The rows of a user beside generations, as JSON for the export, without secrets and derived values."""

from __future__ import annotations

from typing import Any

from django.forms.models import model_to_dict

from accounts.models import User
from inpainting.generations import history
from inpainting.models import (
    Batch,
    BatchItem,
    Retention,
    Share,
    Stack,
    StackShare,
    StackStep,
    UserLimits,
    WebhookDelivery,
    WebhookSecret,
)


def records_beside_generations(user: User) -> dict[str, Any]:
    limits = UserLimits.for_user(user)
    return {
        "deleted_after_days": Retention.for_user(user),
        "limits": limits and model_to_dict(limits, exclude=("id", "user")),
        "removed_by_an_administrator": [
            {"id": removed.pk, "created_at": removed.created_at, "reason": removed.review_note}
            for removed in history.removed_of(user).order_by("created_at", "pk")
        ],
        "batches": [batch_record(batch) for batch in batches_of(user)],
        "shares": [share_record(share) for share in shares_of(user)],
        "stack_shares": [stack_share_record(share) for share in stack_shares_of(user)],
        "webhook_deliveries": [delivery_record(delivery) for delivery in deliveries_of(user)],
        "webhook_secrets": list(WebhookSecret.objects.filter(owner=user).order_by("pk").values("created_at")),
    }


def batches_of(user: User) -> Any:
    return Batch.objects.filter(owner=user).prefetch_related("items").order_by("created_at", "pk")


def batch_record(batch: Batch) -> dict[str, Any]:
    items = [
        {"name": item.name, "generation": item.generation_id, "refusal": refusal_record(item)}
        for item in batch.items.all()
    ]
    return {"id": batch.pk, "created_at": batch.created_at, "items": items}


def refusal_record(item: BatchItem) -> dict[str, Any] | None:
    """The refusal in English, without what its translations are made of."""
    return item.refusal and {name: value for name, value in item.refusal.items() if name != "sentences"}


def stack_record(stack: Stack) -> dict[str, Any]:
    return {"id": stack.pk, "created_at": stack.created_at, "steps": [step_record(step) for step in stack.steps.all()]}


def step_record(step: StackStep) -> dict[str, Any]:
    return {
        "generation": step.generation_id,
        "image": step.image,
        "hidden": step.is_hidden,
        "painted_back": step.painted_back_id,
    }


def shares_of(user: User) -> Any:
    shares = Share.objects.filter(image__generation__in=history.for_user(user).order_by())
    return shares.select_related("image").order_by("created_at", "pk")


def share_record(share: Share) -> dict[str, Any]:
    return {
        "generation": share.image.generation_id,
        "image": share.image.index,
        "created_at": share.created_at,
        "expires_at": share.expires_at,
    }


def stack_shares_of(user: User) -> list[StackShare]:
    """Those that are usable: others show what an administrator removed."""
    return [share for share in StackShare.objects.filter(owner=user).order_by("created_at", "pk") if share.is_usable]


def stack_share_record(share: StackShare) -> dict[str, Any]:
    return {
        "id": share.pk,
        "stack": share.stack_id,
        "name": share.name,
        "created_at": share.created_at,
        "expires_at": share.expires_at,
    }


def deliveries_of(user: User) -> Any:
    return WebhookDelivery.objects.filter(owner=user).prefetch_related("attempts").order_by("pk")


def delivery_record(delivery: WebhookDelivery) -> dict[str, Any]:
    attempts = [
        {"at": attempt.at, "status": attempt.status, "failure": attempt.failure} for attempt in delivery.attempts.all()
    ]
    return {
        "webhook_id": delivery.webhook_id,
        "event": delivery.event,
        "url": delivery.url,
        "state": delivery.state,
        "created_at": delivery.created_at,
        "attempts": attempts,
    }
