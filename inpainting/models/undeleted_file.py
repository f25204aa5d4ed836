"""Files whose deletion failed, as while a bucket does not answer: they are deleted later."""

from __future__ import annotations

import logging
import time

from django.core.files.storage import default_storage
from django.db import Error, models
from django.db.models.fields.files import FieldFile

from inpainting.storage import StorageUnavailable

logger = logging.getLogger(__name__)

MAX_DELETED_PER_CALL = 500
PAUSE_SECONDS = 5.0
"""After the storage did not answer, for which a deletion waits up to 30 s, no deletion is tried for as long."""

_paused_until = float("-inf")


class UndeletedFile(models.Model):
    """The name of a file that no row names any more."""

    name = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.name


def delete_file(file: FieldFile) -> None:
    """Delete a file of a row that is deleted or was never saved; later if the storage does not delete it now."""
    global _paused_until
    name = str(file.name)
    if time.monotonic() < _paused_until:
        remember(name)
        return
    try:
        file.delete(save=False)
    except OSError as error:
        logger.warning("%s will be deleted later: %s", name, error)
        if isinstance(error, StorageUnavailable):
            _paused_until = time.monotonic() + PAUSE_SECONDS
        remember(name)


def remember(name: str) -> None:
    try:
        UndeletedFile.objects.create(name=name)
    except Error:
        logger.warning("%s stays: `check_files --repair` deletes it", name, exc_info=True)


def delete_remembered_files(*, at_most: int = MAX_DELETED_PER_CALL) -> bool:
    """Delete files whose deletion failed, until one fails again. True if none is left to be tried now."""
    remembered = list(UndeletedFile.objects.order_by("pk")[:at_most])
    for file in remembered:
        try:
            default_storage.delete(file.name)
        except OSError as error:
            logger.warning("%s will be deleted later: %s", file.name, error)
            return True
        file.delete()
    return len(remembered) < at_most
