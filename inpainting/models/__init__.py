"""What is kept: generations, their pictures, how long they stay, and the messages that tell of them."""

from inpainting.models.generation import Generation, Status
from inpainting.models.idempotency import IdempotencyKey
from inpainting.models.limits import UserLimits
from inpainting.models.pictures import GeneratedImage, Mask, SourceImage
from inpainting.models.retention import Retention
from inpainting.models.webhooks import DeliveryState, WebhookAttempt, WebhookDelivery, WebhookEvent, WebhookSecret

__all__ = [
    "DeliveryState",
    "GeneratedImage",
    "Generation",
    "IdempotencyKey",
    "Mask",
    "Retention",
    "SourceImage",
    "Status",
    "UserLimits",
    "WebhookAttempt",
    "WebhookDelivery",
    "WebhookEvent",
    "WebhookSecret",
]
