"""Many results as one ZIP, which leaves as it is made: no more than one picture of it is ever in memory."""

from __future__ import annotations

import io
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zipfile import ZIP_STORED, ZipFile, ZipInfo

from django.core.serializers.json import DjangoJSONEncoder
from django.db.models.fields.files import FieldFile

from inpainting.media.files import INERT
from inpainting.media.streaming import IteratorResponse

MOST_STEM_CHARACTERS = 80
UNSAFE = re.compile(r"[^\w.() -]+")
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
"""Names that no file has on Windows, whatever follows their full stop."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file for the archive, and what its manifest says of it."""

    name: str
    file: FieldFile
    about: dict[str, Any]


def zip_response(
    entries: Iterable[Entry], manifest: dict[str, Any], *, made_at: datetime, filename: str
) -> IteratorResponse:
    """A download of the entries as they are, PNG being compressed already, and of a manifest.json, written last.

    What is gone by the time of its turn is left out, and the manifest says so.
    """
    headers = {
        **INERT,
        "Cache-Control": "private, no-store",  # the next one may have more in it
        "Cross-Origin-Resource-Policy": "same-origin",
        "Content-Disposition": f'attachment; filename="{filename}"',
    }
    return IteratorResponse(zipped(entries, manifest, made_at), content_type="application/zip", headers=headers)


def zipped(entries: Iterable[Entry], manifest: dict[str, Any], made_at: datetime) -> Iterator[bytes]:
    outgoing, said = Outgoing(), []
    with ZipFile(outgoing, "w", ZIP_STORED) as archive:
        for entry in entries:
            try:
                with entry.file.open("rb") as file:
                    archive.writestr(info(entry.name, made_at), file.read())
            except (FileNotFoundError, ValueError):
                said.append({**entry.about, "file": None, "missing": "The file of this picture is gone."})
            else:
                said.append({**entry.about, "file": entry.name})
            yield outgoing.taken()
        text = json.dumps({**manifest, "files": said}, indent=2, cls=DjangoJSONEncoder)
        archive.writestr(info("manifest.json", made_at), text)
    yield outgoing.taken()


def info(name: str, made_at: datetime) -> ZipInfo:
    made = ZipInfo(name, made_at.timetuple()[:6])
    made.external_attr = 0o600 << 16
    return made


class Outgoing:
    """What a ZipFile writes to. It may go back within what was not taken yet, to complete the header of an entry.

    So every header has its sizes and checksum, which readers of streams need.
    """

    def __init__(self) -> None:
        self._waiting = io.BytesIO()
        self._gone = 0

    def write(self, data: bytes) -> int:
        return self._waiting.write(data)

    def tell(self) -> int:
        return self._gone + self._waiting.tell()

    def seek(self, offset: int) -> int:
        return self._gone + self._waiting.seek(offset - self._gone)

    def flush(self) -> None:
        """Nothing waits for this."""

    def close(self) -> None:
        """Nothing is open."""

    def taken(self) -> bytes:
        """What was written since this was last asked."""
        data = self._waiting.getvalue()
        self._gone += len(data)
        self._waiting = io.BytesIO()
        return data


class Names:
    """Names for files in one folder: safe on every system, and no two alike, not even but for their case."""

    def __init__(self, *taken: str) -> None:
        self._taken = {name.casefold() for name in taken}

    def unique(self, wanted: str, *, otherwise: str) -> str:
        """`wanted` without its ending, or `otherwise` where nothing is left of it, and `.png`."""
        stem = safe_stem(wanted) or otherwise
        name, number = f"{stem}.png", 1
        while name.casefold() in self._taken:
            number += 1
            name = f"{stem}-{number}.png"
        self._taken.add(name.casefold())
        return name


def safe_stem(name: str) -> str:
    """Letters of any script, digits and a few signs of the last part of a path, without its ending."""
    last = re.split(r"[/\\]", unicodedata.normalize("NFC", name))[-1]
    stem = UNSAFE.sub("_", last.rpartition(".")[0] or last)[:MOST_STEM_CHARACTERS].strip(" .")
    return f"_{stem}" if RESERVED.fullmatch(stem) else stem
