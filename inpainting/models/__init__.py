"""The database models: generations, their images, drafts, limits, retention, webhooks, catalog entries."""

from inpainting.catalog.rows.inference_model import InferenceModel, ModelState
from inpainting.catalog.rows.lora import Lora
from inpainting.models.analysis import Analysis, AnalysisMask
from inpainting.models.batch import Batch, BatchItem
from inpainting.models.conditioning_image import ConditioningImage
from inpainting.models.draft import Draft, DraftImage
from inpainting.models.flow import Flow, VirtualTime
from inpainting.models.generation import Generation
from inpainting.models.idempotency import IdempotencyKey
from inpainting.models.images import GeneratedImage, Mask, ReferenceImage, SourceImage, UploadedImage
from inpainting.models.ledger import Act, LedgerEntry
from inpainting.models.limits import UserLimits
from inpainting.models.owner_totals import OwnerTotals
from inpainting.models.periodic_job import PeriodicJob
from inpainting.models.queued_work import Status
from inpainting.models.retention import Retention
from inpainting.models.review import Verdict
from inpainting.models.service_options import ServiceOptions
from inpainting.models.share import Share, StackShare
from inpainting.models.stack import Stack, StackStep, StepMask
from inpainting.models.undeleted_file import UndeletedFile
from inpainting.models.webhook_delivery import (
    DeliveryState,
    WebhookAttempt,
    WebhookDelivery,
    WebhookEvent,
    WebhookPause,
)
from inpainting.models.webhook_secret import WebhookSecret
from inpainting.models.worker import Worker

__all__ = [
    "Act",
    "Analysis",
    "AnalysisMask",
    "Batch",
    "BatchItem",
    "ConditioningImage",
    "DeliveryState",
    "Draft",
    "DraftImage",
    "Flow",
    "GeneratedImage",
    "Generation",
    "IdempotencyKey",
    "InferenceModel",
    "LedgerEntry",
    "Lora",
    "Mask",
    "ModelState",
    "OwnerTotals",
    "PeriodicJob",
    "ReferenceImage",
    "Retention",
    "ServiceOptions",
    "Share",
    "SourceImage",
    "Stack",
    "StackShare",
    "StackStep",
    "Status",
    "StepMask",
    "UndeletedFile",
    "UploadedImage",
    "UserLimits",
    "Verdict",
    "VirtualTime",
    "WebhookAttempt",
    "WebhookDelivery",
    "WebhookEvent",
    "WebhookPause",
    "WebhookSecret",
    "Worker",
]
