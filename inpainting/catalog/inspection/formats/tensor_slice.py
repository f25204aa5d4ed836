"""Some tensors of a safetensors file as a file of their own, without loading them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inpainting.catalog.inspection.files import CHUNK_BYTES


@dataclass(frozen=True, slots=True)
class TensorSlice:
    """names: of the tensors in the file -> their names in the slice. header: of the file."""

    path: Path
    names: Mapping[str, str]
    header: Mapping[str, Any]

    @property
    def size(self) -> int:
        """Bytes of the slice as a file."""
        return len(self.head()) + sum(end - begin for begin, end in self.spans())

    def spans(self) -> list[tuple[int, int]]:
        """First byte and end of each tensor among the numbers of the file, in their order there."""
        return sorted(tuple(self.header[name]["data_offsets"]) for name in self.names)

    def head(self) -> bytes:
        """Everything before the numbers."""
        described, at = {}, 0
        for name in sorted(self.names, key=lambda name: self.header[name]["data_offsets"]):
            tensor = self.header[name]
            begin, end = tensor["data_offsets"]
            described[self.names[name]] = {**tensor, "data_offsets": [at, at := at + end - begin]}
        text = json.dumps(described, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)  # the library aligns the numbers
        return len(text).to_bytes(8, "little") + text

    def sha256(self) -> str:
        """Hash of the slice as a file, in hex."""
        digest = hashlib.sha256()
        for chunk in self.chunks():
            digest.update(chunk)
        return digest.hexdigest()

    def chunks(self) -> Iterator[bytes]:
        """Yield the bytes of the slice as a file."""
        yield self.head()
        with self.path.open("rb") as file:
            start = 8 + int.from_bytes(file.read(8), "little")
            for begin, end in self.spans():
                file.seek(start + begin)
                while (left := start + end - file.tell()) > 0:
                    yield file.read(min(left, CHUNK_BYTES))
