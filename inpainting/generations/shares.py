"""Share one result by a link; find and revoke links, those of `stack_shares` too."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from django.core import signing
from django.utils import timezone

from inpainting.models import GeneratedImage, Share, StackShare
from inpainting.models.share import SharedLink

SIGNER = signing.Signer(salt="dreamlayer.share", sep=".")
DAYS = (1, 7, 30, 90)
"""The periods after which a link may expire."""
KINDS: tuple[type[SharedLink], ...] = (Share, StackShare)


def share(
    image: GeneratedImage, *, days: int, name: str = "", shows_source: bool = False, has_preview: bool = False
) -> Share:
    """Share a result for that many days; what else the link shows is False unless its owner chose so."""
    expires_at = timezone.now() + timedelta(days=days)
    return Share.objects.create(
        image=image, expires_at=expires_at, name=name, shows_source=shows_source, has_preview=has_preview
    )


def token(shared: SharedLink) -> str:
    """The part of the link that cannot be guessed."""
    return SIGNER.sign(shared.pk.hex)


def find(token: str) -> SharedLink | None:
    """The share of a link. None if the link was altered, has expired or was revoked, or the image is gone."""
    try:
        pk = UUID(SIGNER.unsign(token))
    except (signing.BadSignature, ValueError):
        return None
    shared = first(pk=pk)
    return shared if shared is not None and shared.is_usable else None


def first(*, pk: UUID, owner: Any = None) -> SharedLink | None:
    """The share with this key, of a user or of anybody."""
    for kind in KINDS:
        found = kind._default_manager.select_related(*kind.READ_WITH_IT).filter(pk=pk)
        if shared := (found if owner is None else found.filter(**{kind.OWNER: owner})).first():
            return shared
    return None


def find_of_generation(generation: Any) -> list[Share]:
    """The links to results of a generation that work, newest first."""
    shares = Share.objects.filter(image__generation=generation, expires_at__gt=timezone.now())
    return list(shares.select_related("image__generation").order_by("-created_at"))


def revoke(user: Any, pk: UUID) -> SharedLink | None:
    """Delete a share of the user's; its link ends at once. None if there is no such share."""
    shared = first(pk=pk, owner=user)
    if shared is not None:
        type(shared)._default_manager.filter(pk=pk).delete()
    return shared
