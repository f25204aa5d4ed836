"""Stored images: source images, masks, conditioning images, generated images, uploaded images.

Files have random names and are never public.
"""

from __future__ import annotations

import hashlib
import logging
import uuid
from collections.abc import Iterable
from datetime import datetime
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.files.base import ContentFile
from django.db import Error, models, transaction
from django.db.models.fields.files import FieldFile
from django.db.models.signals import post_delete
from django.dispatch import receiver

from inpainting.core.codecs import STORED_LIMITS, decode_image, encode_png, generation_parameters, thumbnail_webp
from inpainting.core.codecs.formats import EXTENSIONS, PNG, LossyCopy, format_of
from inpainting.core.credentials import DigitalSourceType, Origin
from inpainting.core.image import CanonicalImage
from inpainting.core.image import Mask as MaskPixels
from inpainting.core.metadata import NO_METADATA, ImageMetadata
from inpainting.engines.inserting import CLONE
from inpainting.media import recent_inputs
from inpainting.models.undeleted_file import delete_file
from inpainting.upscalers.registry import upscalers

logger = logging.getLogger(__name__)


class Reduction(NamedTuple):
    """A kind of reduced copy: pixels of the longer side, and bytes of the WebP, at most."""

    side: int
    max_bytes: int


THUMBNAIL = Reduction(384, 20_000)
"""With 24 thumbnails, a page of the history is smaller than 600 KB."""
PREVIEW = Reduction(1600, 400_000)
"""With three previews, the page of a generation is smaller than 1.5 MB."""
SOURCE_CREDENTIALS = "source_credentials_valid"
"""Key of `GeneratedImage.report`: whether the Content Credentials of the source image were valid; left out where it had
none."""
REDUCTIONS = {"thumbnail": THUMBNAIL, "preview": PREVIEW}
"""Field -> the kind of its file."""


def private_name(instance: models.Model, filename: str) -> str:
    """Return a random name in one of 256 folders, with the suffix of `filename`.

    No two attempts share a name, so a late worker cannot overwrite a file that another worker stored.
    """
    name = uuid.uuid4().hex
    return f"{instance._meta.model_name}/{name[:2]}/{name}.{filename.rpartition('.')[2]}"


class StoredImage(models.Model):
    """A lossless PNG with its size and hash."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    file = models.FileField(upload_to=private_name, max_length=200)
    sha256 = models.CharField(max_length=64, editable=False)
    byte_count = models.PositiveBigIntegerField(editable=False)
    width = models.PositiveIntegerField(editable=False)
    height = models.PositiveIntegerField(editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    HASHES: ClassVar[dict[str, str]] = {"file": "sha256"}
    """File -> the field that holds the SHA-256 of its bytes."""

    class Meta:
        abstract = True

    @property
    def delivered(self) -> FieldFile:
        """The file in the requested format."""
        return self.file

    @property
    def format(self) -> str:
        """The format of `delivered`."""
        return PNG

    def write(self, png: bytes, image: CanonicalImage) -> None:
        """Put the bytes into storage; the caller saves the row in its transaction."""
        self.sha256 = hashlib.sha256(png).hexdigest()
        self.byte_count = len(png)
        self.width, self.height = image.size.width, image.size.height
        self.file.save("image.png", ContentFile(png), save=False)

    def read(self) -> CanonicalImage:
        """Return the image, decoded from its file. Raises FileNotFoundError where the file is gone."""
        return decode_image(self.read_bytes(), limits=STORED_LIMITS).image

    def read_bytes(self) -> bytes:
        """Return the bytes of the file. Raises FileNotFoundError where it is gone."""
        with self.file.open("rb") as file:
            data: bytes = file.read()
            return data

    def keep_decoded(self, image: CanonicalImage) -> None:
        """Keep the image that was just written for a worker of this process."""
        recent_inputs.keep(str(self.file.name), image)

    def read_once(self) -> CanonicalImage:
        """Return what `read` returns, without decoding the image that `keep_decoded` keeps again."""
        kept = recent_inputs.pop(str(self.file.name))
        if kept is None or not self.file.storage.exists(str(self.file.name)):
            return self.read()
        return kept

    def delete_files(self) -> None:
        """Delete the files that were written, now or, while the storage does not delete them, later."""
        recent_inputs.pop(str(self.file.name))
        for name in self.file_fields():
            if file := getattr(self, name):
                delete_file(file)

    @classmethod
    def file_fields(cls) -> list[str]:
        """Return the names of the fields that name files."""
        return [field.name for field in cls._meta.get_fields() if isinstance(field, models.FileField)]


class PreviewedImage(StoredImage):
    """An image with a copy for pages, which is made when it is first requested (see `inpainting.media.previews`)."""

    preview = models.FileField(
        upload_to=private_name, max_length=200, blank=True, editable=False,
        help_text="WebP of at most 1600 pixels a side; empty until it is requested",
    )  # fmt: skip

    class Meta:
        abstract = True

    @property
    def owners(self) -> models.QuerySet[Any]:
        """The row of the owner; empty after the generation was deleted."""
        return get_user_model().objects.filter(pk=self.owner_id)  # type: ignore[attr-defined]  # of the subclasses

    def store_reduced(self, field: str, data: bytes) -> bool:
        """Write a reduced copy to storage and save its name. False if the row was deleted or has one by now."""
        return self.store_file(field, ContentFile(data, name=f"{field}.webp"))

    def store_file(self, field: str, content: ContentFile, **changes: Any) -> bool:
        """Write a file that was made on request to storage, and save its name and other changes of the row. False if
        the row was deleted or names another file by now.

        The lock on the owner is the one that deletions take: a deletion that has read the row would leave the file.
        """
        file: FieldFile = getattr(self, field)
        former = str(file.name or "")
        file.save(str(content.name), content, save=False)
        saved = False
        try:
            with transaction.atomic():
                list(self.owners.select_for_update(of=["self"], no_key=True).only("pk"))
                rows = type(self)._default_manager.filter(pk=self.pk, **{field: former})
                saved = bool(rows.update(**{field: file.name}, **changes))
        finally:
            if not saved:
                delete_file(file)
        return saved


class ThumbnailedImage(PreviewedImage):
    thumbnail = models.FileField(
        upload_to=private_name, max_length=200, blank=True, editable=False,
        help_text="WebP of at most 384 pixels a side; empty until the generation has succeeded or it is requested",
    )  # fmt: skip

    class Meta:
        abstract = True


class SignedImage(PreviewedImage):
    """An image with a copy that has Content Credentials, which is made when it is first requested (see
    `inpainting.media.results`)."""

    signed_file = models.FileField(
        upload_to=private_name, max_length=200, blank=True, default="", db_default="", editable=False,
        help_text="the PNG with Content Credentials; empty until it is requested",
    )  # fmt: skip
    signed_byte_count = models.PositiveBigIntegerField(default=0, db_default=0, editable=False)

    class Meta:
        abstract = True

    report: models.JSONField[Any, Any]
    """What was measured on the image, and what is known of the photo (SOURCE_CREDENTIALS)."""

    @property
    def origin(self) -> Origin:
        """What was done to the photo."""
        raise NotImplementedError

    @property
    def source(self) -> SourceImage:
        """The photo as it was."""
        raise NotImplementedError

    def embedded_texts(self) -> dict[str, str]:
        """Return the settings as texts of a PNG; {} where the image was not made by one generation."""
        return {}

    def store_signed(self, field: str, content: ContentFile) -> bool:
        """Write a signed copy to storage, and save its name and size. False as of `store_file`."""
        return self.store_file(field, content, **{f"{field.removesuffix('file')}byte_count": content.size})


def reduced_webp(image: CanonicalImage, field: str) -> bytes:
    """Return the bytes of a reduced copy of the kind that a field holds."""
    kind = REDUCTIONS[field]
    return thumbnail_webp(image, side=kind.side, max_bytes=kind.max_bytes)


class SourceImage(ThumbnailedImage):
    """The canonical image of a request: upright, lossless, with no metadata but that which the request keeps."""

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="source_images")
    name = models.CharField(max_length=255, blank=True, help_text="name of the uploaded file")

    @classmethod
    def from_image(
        cls, owner: Any, canonical: CanonicalImage, *, name: str = "", metadata: ImageMetadata = NO_METADATA
    ) -> SourceImage:
        """Write the file to storage; the row is not saved yet.

        metadata: for the file, with its Content Credentials.
        """
        image = cls(owner=owner, name=name[-255:])
        image.write(encode_png(canonical, metadata=metadata, credentials=metadata.credentials), canonical)
        return image


class StoredMask(StoredImage):
    """A mask of an owner: mode L."""

    class Meta:
        abstract = True

    @classmethod
    def from_pixels(cls, owner: Any, pixels: MaskPixels) -> Self:
        """Write the file to storage; the row is not saved yet."""
        mask, image = cls(owner=owner), CanonicalImage.of_mask(pixels)
        mask.write(encode_png(image), image)
        return mask

    def read_pixels(self) -> MaskPixels:
        return grey_pixels(self.read())


class Mask(StoredMask, PreviewedImage):
    """What is repainted: 255 = repaint, 0 = keep."""

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="masks")

    def read_kept_pixels(self) -> MaskPixels:
        """Return the pixels of the image that `read_once` returns."""
        return grey_pixels(self.read_once())


def grey_pixels(mask: CanonicalImage) -> MaskPixels:
    pixels: MaskPixels = mask.pixels[:, :, 0].astype("uint8", copy=False)
    return pixels


class ReferenceImages(models.QuerySet["ReferenceImage"]):
    def unused(self) -> ReferenceImages:
        """Return the images of no generation."""
        return self.filter(uses=None)


class ReferenceImage(PreviewedImage):
    """A conditioning image: 8-bit RGB, or the mask of a region, 8-bit grey."""

    objects = ReferenceImages.as_manager()

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="reference_images")

    @classmethod
    def from_image(cls, owner: Any, canonical: CanonicalImage) -> ReferenceImage:
        """Write the file to storage; the row is not saved yet."""
        reference = cls(owner=owner)
        reference.write(encode_png(canonical), canonical)
        return reference


class UploadedImage(StoredImage):
    """An image that later requests name: uploaded by a client, or a mask that a segmenter found.

    Deleted by the retention sweep when it expires.
    """

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="uploaded_images")
    expires_at = models.DateTimeField(db_index=True, editable=False)
    found = models.JSONField(
        null=True, editable=False, help_text="of a mask that was found: segmenter, box, area, score; empty: uploaded"
    )

    @classmethod
    def from_image(
        cls, owner: Any, canonical: CanonicalImage, *, expires_at: datetime, found: dict[str, Any] | None = None
    ) -> UploadedImage:
        """Write the file to storage, with whether its Content Credentials were valid; the row is not saved yet."""
        uploaded = cls(owner=owner, expires_at=expires_at, found=found)
        credentials = canonical.metadata.select(None).credentials
        uploaded.write(encode_png(canonical, credentials=credentials), canonical)
        return uploaded


def content_digest(image: CanonicalImage) -> str:
    """Return a SHA-256 that is equal for equal images. Computing it is much faster than encoding a PNG."""
    pixels = image.pixels
    whole = hashlib.sha256(f"{pixels.shape} {pixels.dtype} {image.icc_profile!r}".encode())
    whole.update(np.ascontiguousarray(pixels).data)
    return whole.hexdigest()


class GeneratedImage(SignedImage, ThumbnailedImage):
    """One result of a generation, and the measurements on its stored file."""

    generation = models.ForeignKey("inpainting.Generation", on_delete=models.CASCADE, related_name="images")
    index = models.PositiveSmallIntegerField()
    outside_mask_changed_pixels = models.PositiveBigIntegerField()
    seam_score = models.FloatField()
    score = models.FloatField(
        null=True, help_text="how plausible the painted area is, 0 to 1; empty where a prompt says what is painted"
    )
    report = models.JSONField(default=dict, help_text="window, coverage, treatment of the seam")
    hidden_file = models.FileField(
        upload_to=private_name, max_length=200, blank=True, editable=False,
        help_text="the result before the safety checker hid it; for reviewers only",
    )  # fmt: skip
    hidden_sha256 = models.CharField(max_length=64, blank=True, default="", editable=False)
    hidden_byte_count = models.PositiveBigIntegerField(default=0, editable=False)

    copy_file = models.FileField(
        upload_to=private_name, max_length=200, blank=True, editable=False,
        help_text="a lossy copy, in the requested format",
    )  # fmt: skip
    copy_sha256 = models.CharField(max_length=64, blank=True, default="", editable=False)
    copy_byte_count = models.PositiveBigIntegerField(default=0, editable=False)

    signed_copy_file = models.FileField(
        upload_to=private_name, max_length=200, blank=True, default="", db_default="", editable=False,
        help_text="the lossy copy with Content Credentials; empty until it is requested",
    )  # fmt: skip
    signed_copy_byte_count = models.PositiveBigIntegerField(default=0, db_default=0, editable=False)

    HASHES: ClassVar[dict[str, str]] = {"file": "sha256", "hidden_file": "hidden_sha256", "copy_file": "copy_sha256"}

    class Meta:
        ordering: ClassVar[list[str]] = ["index"]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["generation", "index"], name="one_image_per_index")
        ]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["generation"], condition=~models.Q(hidden_file=""), name="hidden_results")
        ]

    def __str__(self) -> str:
        return f"image {self.index} of {self.generation_id}"

    def write_hidden(self, png: bytes) -> None:
        """Put the unhidden result into storage beside the one that is shown."""
        self.hidden_sha256 = hashlib.sha256(png).hexdigest()
        self.hidden_byte_count = len(png)
        self.hidden_file.save("image.png", ContentFile(png), save=False)

    def write_copy(self, copy: LossyCopy) -> None:
        """Put a lossy copy of the result into storage beside the PNG."""
        self.copy_sha256 = hashlib.sha256(copy.data).hexdigest()
        self.copy_byte_count = len(copy.data)
        self.copy_file.save(f"image.{EXTENSIONS[copy.format]}", ContentFile(copy.data), save=False)

    @property
    def owners(self) -> models.QuerySet[Any]:
        return get_user_model().objects.filter(generations=self.generation_id)

    @property
    def delivered(self) -> FieldFile:
        return self.copy_file or self.file

    @property
    def format(self) -> str:
        return format_of(str(self.delivered.name)) or PNG

    @property
    def source(self) -> SourceImage:
        source: SourceImage = self.generation.source
        return source

    @property
    def origin(self) -> Origin:
        generation = self.generation
        return Origin(
            verbs=(generation.verb,),
            changes_nothing_else=not self.outside_mask_changed_pixels,
            source_type=self.source_type,
            coverage=self.report.get("coverage", 0.0),
            engine=generation.engine,
            model=generation.model,
            keeps_manifests=generation.settings.get("keep_metadata") is not None,
        )

    @property
    def source_type(self) -> DigitalSourceType:
        """How its pixels came to be."""
        generation = self.generation
        if not generation.model or generation.model in upscalers():
            clones = generation.settings.get("insert_mode") == CLONE and "insert_mode" not in generation.ignored
            return DigitalSourceType.CAPTURES if clones else DigitalSourceType.HUMAN_EDITS
        # Nothing of the source is seen where all of it is repainted from noise. Enlarging has no strength.
        is_from_noise = "strength" not in generation.ignored and generation.settings.get("strength") == 1.0
        is_whole = self.report.get("coverage") == 1.0
        return DigitalSourceType.GENERATED if is_from_noise and is_whole else DigitalSourceType.COMPOSITE

    def embedded_texts(self) -> dict[str, str]:
        return generation_parameters(self.generation.engine, self.generation.settings, index=self.index)


def delete_uncommitted_files(written: Iterable[StoredImage]) -> None:
    """Delete the files of those images that have no row.

    After an interrupted transaction only the database knows whether it was committed: the answer to a COMMIT may be
    lost. So the rows are looked up, and the files stay where the database does not answer; `check_files` finds files
    without rows.
    """
    doubtful: dict[type[StoredImage], list[StoredImage]] = {}
    for image in written:
        if image._state.adding:  # its row was never saved
            image.delete_files()
        else:
            doubtful.setdefault(type(image), []).append(image)
    for model, images in doubtful.items():
        try:
            kept = model._default_manager.in_bulk([image.pk for image in images])
        except Error:
            logger.warning("The database does not answer; the files of uncommitted rows stay", exc_info=True)
            continue
        for stored in images:
            if stored.pk not in kept:
                stored.delete_files()


@receiver(post_delete, sender=SourceImage)
@receiver(post_delete, sender=Mask)
@receiver(post_delete, sender=ReferenceImage)
@receiver(post_delete, sender=GeneratedImage)
@receiver(post_delete, sender=UploadedImage)
def delete_files_of(instance: StoredImage, **_: object) -> None:
    """Delete the files of a deleted row, also of one that a cascade deletes without calling the model's `delete`.

    On commit: a crash in between leaves files without a row, never a row without its files.
    """
    transaction.on_commit(instance.delete_files, robust=True)
