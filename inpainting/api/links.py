"""Links to pictures: private ones for the owner, and signed ones that other origins may load for a while."""

from __future__ import annotations

from django.conf import settings
from django.core import signing
from django.urls import reverse
from rest_framework.request import Request

from inpainting.models import GeneratedImage

# A dot between the parts: these links end as file names, and a colon is no part of one everywhere.
SIGNER = signing.TimestampSigner(salt="dreamlayer.public-image", sep=".")


def public_image_url(image: GeneratedImage, request: Request) -> str:
    """An absolute link that nobody can guess; it ends after RESULT_LINK_HOURS."""
    return request.build_absolute_uri(reverse("public-image", args=[SIGNER.sign(image.pk.hex)]))


def public_image(token: str) -> GeneratedImage | None:
    """The picture behind a link, or None where the link is altered, too old, or the picture is gone."""
    try:
        pk = SIGNER.unsign(token, max_age=settings.RESULT_LINK_HOURS * 3600)
    except signing.BadSignature:
        return None
    return GeneratedImage.objects.filter(pk=pk).first()
