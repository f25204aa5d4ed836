"""Networks that outline what is under points or in a box: SAM, SAM 2, MobileSAM. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from inpainting.catalog.specs import ModelSpec
from inpainting.core.codecs.colour import to_rgb8
from inpainting.core.image import CanonicalImage
from inpainting.segmenters.base import Candidate, Hint, Selection


@dataclass(frozen=True, slots=True)
class Promptable:
    """module: beside this one, imported with the first model. class_name: of its loaded models."""

    module: str
    class_name: str
    reads: frozenset[Hint] = frozenset({Hint.POINTS, Hint.BOX})
    needs: frozenset[Hint] = frozenset({Hint.POINTS, Hint.BOX})

    def load(self, spec: ModelSpec, path: Path) -> Any:
        """Raises EngineFailed: `model_refused`, `model_unavailable`."""
        module = import_module(f"{__package__}.{self.module}")
        return getattr(module, self.class_name)(spec, path)

    def candidates(self, loaded: Any, spec: ModelSpec, image: CanonicalImage, selection: Selection) -> list[Candidate]:
        """For one point three masks, such as of a part, the whole thing and a group, the best rated first; else one."""
        found: list[Candidate]
        (found,) = loaded.outline(to_rgb8(image), [selection])
        return found


SAM, SAM2 = Promptable("sam_models", "Sam"), Promptable("sam_models", "Sam2")
MOBILE_SAM = Promptable("mobile_sam", "MobileSam")
