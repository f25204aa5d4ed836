"""What is kept: generations and their pictures."""

from inpainting.models.generation import Generation, Status
from inpainting.models.idempotency import IdempotencyKey
from inpainting.models.limits import UserLimits
from inpainting.models.pictures import GeneratedImage, Mask, SourceImage

__all__ = ["GeneratedImage", "Generation", "IdempotencyKey", "Mask", "SourceImage", "Status", "UserLimits"]
