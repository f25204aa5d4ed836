"""Content Credentials: what is said about the origin of a result, as a manifest of C2PA.

C2PA Technical Specification 2.2, section 18.14 for actions; IPTC NewsCodes for the digital source type. Nothing in a
manifest is about a person: neither words, nor masks, nor names of files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, Literal, Self

from inpainting.core.metadata import SourceCredentials
from inpainting.core.setting import UPSCALE

PROGRAM = "DreamLayer"
VOCABULARY = "http://cv.iptc.org/newscodes/digitalsourcetype/"
"""The address before each digital source type, https://cv.iptc.org/newscodes/digitalsourcetype."""
PARENT = "source"
"""The label of the source image among the ingredients."""
LIBRARY_SETTINGS = {
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
    "builder": {"thumbnail": {"enabled": False}},
}
"""The library reaches no server that a file names, and puts no reduced copy of an image into a manifest."""
VALID, NOT_VALID = "Its Content Credentials were valid.", "Its Content Credentials were not valid."
"""The description of a source image whose manifests are not kept."""


class DigitalSourceType(StrEnum):
    """How the pixels of a result came to be, by the names of IPTC's vocabulary."""

    HUMAN_EDITS = "humanEdits"
    """A photo that a person edited with a program without a trained network."""
    CAPTURES = "compositeCapture"
    """A photo into which another one was inserted without a trained network."""
    COMPOSITE = "compositeWithTrainedAlgorithmicMedia"
    """A photo of which a trained network has made a part."""
    GENERATED = "trainedAlgorithmicMedia"
    """An image that a trained network has made as a whole."""

    @property
    def address(self) -> str:
        return VOCABULARY + self.value

    @property
    def is_of_network(self) -> bool:
        """Whether a trained network has made a part of it."""
        return self in (DigitalSourceType.COMPOSITE, DigitalSourceType.GENERATED)


Verb = Literal["Removed", "Painted", "Extended", "Inserted", "Enlarged"]
"""What a generation has done to a photo."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What was done to a photo until an image of it was made, by one generation or several."""

    verbs: tuple[Verb, ...]  # each once
    changes_nothing_else: bool  # no pixel outside the masks
    source_type: DigitalSourceType
    coverage: float  # share of the image that was repainted, 0 to 1
    engine: str
    model: str  # empty for engines without models
    keeps_manifests: bool  # those of the photo, which a signed file then holds

    @classmethod
    def restored(cls, stored: Mapping[str, Any]) -> Self:
        """Return what `asdict` has written as JSON, with other keys or without."""
        values = {field.name: stored[field.name] for field in fields(cls)}
        source_type = DigitalSourceType(values["source_type"])
        return cls(**{**values, "verbs": tuple(values["verbs"]), "source_type": source_type})

    @property
    def is_enlarged(self) -> bool:
        return "Enlarged" in self.verbs


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """The origin of an image as Content Credentials say it."""

    source_type: DigitalSourceType
    is_enlarged: bool
    coverage: float  # share of the image that was repainted, 0 to 1
    engine: str
    model: str  # empty for engines without models
    source_sha256: str  # of the file of the source image
    source_credentials: SourceCredentials | None = None  # that the source image had when it was uploaded

    def manifest(self, version: str) -> dict[str, Any]:
        """Return the definition of a manifest, as c2pa-rs reads it. It lacks the source image where `archive` holds it.

        version: of this program.
        """
        names = {"engine": self.engine, "model": self.model}
        action = {
            "digitalSourceType": self.source_type.address,
            "softwareAgent": {"name": PROGRAM, "version": version},
            "description": self.description,
            "parameters": {f"org.dreamlayer.{name}": value for name, value in names.items() if value},
        }
        definition = {"claim_generator_info": [{"name": PROGRAM, "version": version}]}
        if self.source_type is DigitalSourceType.GENERATED:
            return {**definition, "assertions": [actions({"action": "c2pa.created", **action})]}
        opened = {"action": "c2pa.opened", "parameters": {"ingredientIds": [PARENT]}}
        is_resized = self.is_enlarged and not self.has_detail
        edited = {"action": "c2pa.resized" if is_resized else "c2pa.edited", **action}
        source = ingredient("image/png", self.source_sha256)
        if self.source_credentials is not None:
            source["description"] = VALID if self.source_credentials.is_valid else NOT_VALID
        sources = {} if self.archive else {"ingredients": [source]}
        resized = [{"action": "c2pa.resized"}] if self.has_detail else []
        return {**definition, "assertions": [actions(opened, *resized, edited)], **sources}

    @property
    def archive(self) -> bytes:
        """The archive of the source image with all its manifests; empty where they are not kept or it is not seen."""
        if self.source_credentials is None or self.source_type is DigitalSourceType.GENERATED:
            return b""
        return self.source_credentials.archive

    @property
    def has_detail(self) -> bool:
        """Whether the enlarged image was painted."""
        return self.is_enlarged and self.engine != UPSCALE

    @property
    def description(self) -> str:
        """What was done, in a sentence for people."""
        share = f"{100 * self.coverage:.1f} %"
        if self.is_enlarged:
            words = "The whole image was enlarged"
            return f"{words}, and {share} of it was repainted." if self.has_detail else f"{words}."
        return f"{share} of the image was repainted."


def ingredient(media_type: str, sha256: str) -> dict[str, Any]:
    """Return the source image as the parent of a result.

    sha256: of its file.
    """
    return {
        "title": "The photo before",
        "format": media_type,
        "relationship": "parentOf",
        "label": PARENT,
        "instance_id": f"sha256:{sha256}",
    }


def actions(*found: dict[str, Any]) -> dict[str, Any]:
    return {"label": "c2pa.actions.v2", "data": {"actions": list(found)}}
