"""Files whose deletion failed, as while a bucket does not answer: they are deleted later."""

from __future__ import annotations

import logging

from django.core.files.storage import default_storage
from django.db import Error, models
from django.db.models.fields.files import FieldFile

logger = logging.getLogger(__name__)

MAX_DELETED_PER_CALL = 500


class UndeletedFile(models.Model):
    """The name of a file that no row names any more."""

    name = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.name


def delete_file(file: FieldFile) -> None:
    """Delete a file of a row that is deleted or was never saved; later if the storage does not delete it now."""
    name = str(file.name)
    try:
        file.delete(save=False)
    except OSError as error:
        logger.warning("%s will be deleted later: %s", name, error)
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
