"""What is kept: generations and their pictures."""

from inpainting.models.generation import Generation, Status
from inpainting.models.pictures import GeneratedImage, Mask, SourceImage

__all__ = ["GeneratedImage", "Generation", "Mask", "SourceImage", "Status"]
