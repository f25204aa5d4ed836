"""ZIP archives that are streamed while they are written: one chunk of one image is in memory.

`zip_response` adds a manifest and leaves missing files out. `Archive` has the same bytes whenever it is made of the
same members, so that an interrupted download can be resumed.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any
from zipfile import ZIP64_LIMIT, ZIP_FILECOUNT_LIMIT, ZIP_STORED, ZipFile, ZipInfo
from zlib import crc32

from django.core.files import File
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.core.serializers.json import DjangoJSONEncoder
from django.db.models.fields.files import FieldFile

from inpainting.media.files import INERT
from inpainting.media.streaming import CHUNK_BYTES, IteratorResponse

MAX_STEM_CHARACTERS, MAX_STEM_BYTES = 80, 200
"""File systems of Linux and macOS take names of up to 255 bytes, and up to 42 are added to a stem."""
UNSAFE = re.compile(r"[^\w.() -]+")
RESERVED = re.compile(r"(con|prn|aux|nul|(com|lpt)[\d¹²³])(\..*)?", re.IGNORECASE)
"""File names that Windows reserves, with any extension."""


@dataclass(frozen=True, slots=True)
class ArchiveEntry:
    """A file of the archive, and its entry in the manifest."""

    name: str
    file: FieldFile
    about: dict[str, Any]


def zip_response(
    entries: Iterable[ArchiveEntry], manifest: dict[str, Any], *, made_at: datetime, filename: str
) -> IteratorResponse:
    """Return a download of the entries and, last, a manifest.json. Nothing is compressed, since images already are.

    A file that is missing when its turn comes is left out, and marked as missing in the manifest.
    """
    headers = {
        **INERT,
        "Cache-Control": "private, no-store",  # A later archive may contain more results.
        "Cross-Origin-Resource-Policy": "same-origin",
        "Content-Disposition": f'attachment; filename="{filename}"',
    }
    return IteratorResponse(zip_chunks(entries, manifest, made_at), content_type="application/zip", headers=headers)


def zip_chunks(entries: Iterable[ArchiveEntry], manifest: dict[str, Any], made_at: datetime) -> Iterator[bytes]:
    buffer, files = UnsentBytes(), []
    with ZipFile(buffer, "w", ZIP_STORED) as archive:
        for entry in entries:
            try:
                image = entry.file.open("rb")
            except (FileNotFoundError, ValueError):
                files.append({**entry.about, "file": None, "missing": "The file of this image is gone."})
                continue
            with image, archive.open(ImageInfo(entry.name, made_at, image), "w") as stored:
                for chunk in chunks_of(image):
                    stored.write(chunk)
                    yield buffer.take_bytes()
            files.append({**entry.about, "file": entry.name})
        text = json.dumps({**manifest, "files": files}, indent=2, cls=DjangoJSONEncoder)
        archive.writestr(ZipInfo("manifest.json", made_at.timetuple()[:6]), text)
    yield buffer.take_bytes()


class ArchiveChanged(Exception):
    """A member was deleted or replaced after the archive was announced."""


@dataclass(frozen=True, slots=True)
class Member:
    """A file of an Archive."""

    name: str
    size: int
    stored: str = ""  # its name in the storage; empty: `content` is the file
    content: bytes = b""

    def open(self) -> File:
        return default_storage.open(self.stored) if self.stored else ContentFile(self.content)


@dataclass(frozen=True, slots=True)
class Archive:
    """A ZIP of known length."""

    members: Sequence[Member]
    made_at: datetime  # the date of all its files

    @property
    def etag(self) -> str:
        """Stored files are never overwritten, so their names stand for their bytes."""
        digest = hashlib.sha256(str(self.made_at).encode())
        for member in self.members:
            digest.update(repr((member.name, member.size, member.stored, member.content)).encode())
        return f'"{digest.hexdigest()[:32]}"'

    def __len__(self) -> int:
        """Return the bytes of all chunks; the sizes are those of APPNOTE 6.3.10, sections 4.3.7 and 4.3.12 to
        4.3.16."""
        files = directory = 0
        for member in self.members:
            name = len(member.name.encode())
            directory += 46 + name + (12 if files > ZIP64_LIMIT else 0)
            files += 30 + name + member.size
        is_zip64 = len(self.members) > ZIP_FILECOUNT_LIMIT or max(files, directory) > ZIP64_LIMIT
        return files + directory + 22 + (56 + 20 if is_zip64 else 0)

    def chunks(self, wanted: range) -> Iterator[bytes]:
        """Yield the bytes of the range. Those before it are read and dropped: the end needs the checksums of all files.

        Raises ArchiveChanged, which ends the download early.
        """
        position = 0
        for chunk in self._all_chunks():
            part = chunk[max(0, wanted.start - position) : max(0, wanted.stop - position)]
            position += len(chunk)
            if part:
                yield part
            if position >= wanted.stop:
                return

    def _all_chunks(self) -> Iterator[bytes]:
        buffer = UnsentBytes()
        with ZipFile(buffer, "w", ZIP_STORED) as archive:
            for member in self.members:
                try:
                    file = member.open()
                except FileNotFoundError as error:
                    raise ArchiveChanged from error
                with file:
                    info = ImageInfo(member.name, self.made_at, file)
                    if info.file_size != member.size:
                        raise ArchiveChanged
                    with archive.open(info, "w") as stored:
                        for chunk in chunks_of(file):
                            stored.write(chunk)
                            yield buffer.take_bytes()
        yield buffer.take_bytes()


class ImageInfo(ZipInfo):
    """An image's header, with size and checksum before the image is written.

    Programs that read a ZIP as a stream need both. ZipFile writes a header without them, and replaces it at the end.
    """

    def __init__(self, name: str, made_at: datetime, image: File) -> None:
        super().__init__(name, made_at.timetuple()[:6])
        self.checksum = 0
        for chunk in chunks_of(image):
            self.file_size += len(chunk)
            self.checksum = crc32(chunk, self.checksum)

    def FileHeader(self, zip64: bool | None = None) -> bytes:  # noqa: N802 - ZipInfo's name
        self.CRC, self.compress_size = self.checksum, self.file_size
        return super().FileHeader(zip64)


def chunks_of(image: File) -> Iterator[bytes]:
    image.seek(0)
    return iter(partial(image.read, CHUNK_BYTES), b"")


class UnsentBytes:
    """The file that a ZipFile writes to, of which only what is not sent yet is kept: the chunks themselves, no copies.

    At the end of an entry ZipFile seeks back and writes its header again, which is dropped: the header of an ImageInfo
    has not changed.
    """

    def __init__(self) -> None:
        self._unsent: list[bytes] = []
        self._end = 0
        self._is_repeating = False

    def write(self, data: bytes) -> int:
        if not self._is_repeating:
            self._unsent.append(data)
            self._end += len(data)
        return len(data)

    def tell(self) -> int:
        return self._end

    def seek(self, offset: int) -> int:
        self._is_repeating = offset < self._end
        return offset

    def flush(self) -> None:
        """Do nothing; ZipFile calls it."""

    def close(self) -> None:
        """Do nothing; ZipFile calls it."""

    def take_bytes(self) -> bytes:
        """Return what was written since the last call."""
        data = b"".join(self._unsent)
        self._unsent.clear()
        return data


class ArchiveNames:
    """File names that are safe on every system and unique in their folder, regardless of case."""

    def __init__(self, *taken: str) -> None:
        self._taken = {name.casefold() for name in taken}

    def unique(self, preferred: str, *, fallback: str, extension: str) -> str:
        """Return `preferred` with another extension; `fallback` if it has no safe character."""
        stem = safe_stem(preferred) or fallback
        name, number = f"{stem}.{extension}", 1
        while name.casefold() in self._taken:
            number += 1
            name = f"{stem}-{number}.{extension}"
        self._taken.add(name.casefold())
        return name


def safe_stem(name: str) -> str:
    """Return the file name of a path without its extension; unsafe characters are replaced by underscores.

    A leading hyphen is dropped, which commands would take for an option.
    """
    last = re.split(r"[/\\]", unicodedata.normalize("NFC", name))[-1]
    stem = UNSAFE.sub("_", last.rpartition(".")[0] or last)[:MAX_STEM_CHARACTERS]
    stem = stem.encode()[:MAX_STEM_BYTES].decode(errors="ignore").lstrip(" .-").rstrip(" .")
    return f"_{stem}" if RESERVED.fullmatch(stem) else stem
