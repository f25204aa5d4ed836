"""What a scan finds: a model, adapter or LoRA, or a file that cannot be added."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from inpainting.catalog.inspection.files import IMAGE_ENCODER, ONNX, WEIGHTS, ModelRefused, slug_of
from inpainting.catalog.inspection.formats.component_file import read_component_file
from inpainting.catalog.inspection.formats.tensor_slice import TensorSlice
from inpainting.catalog.inspection.image_encoders import weights
from inpainting.catalog.specs import Kind, LoraKind

LORA = "lora"
"""In place of a kind of models."""


@dataclass(frozen=True, slots=True)
class FoundModel:
    """A model, adapter or LoRA, or a file that cannot be added."""

    path: Path
    """The file or folder, as `add_model --from` takes it."""
    kind: Kind | str = ""
    """A `Kind` or LORA; "" for what cannot be added."""
    family: str = ""
    """The family of the model, or of the models that the adapter or LoRA is for."""
    control: str = ""
    """The kind of control image of a ControlNet."""
    variant: str = ""
    """As in `ModelSpec`."""
    reason: str = ""
    """Why it cannot be added; "" where it can."""
    lora_kind: LoraKind = LoraKind.STYLE
    """The kind of a LoRA."""
    steps: int | None = None
    """The steps that a LoRA was distilled to; None where it was not, or its name does not tell."""
    component: str = ""
    """The component of a pipeline or IP-Adapter that the file holds alone; "" for all other files."""
    families: tuple[str, ...] = ()
    """The families that the file may be for, where its tensors do not tell which."""
    parts: tuple[Path, ...] = ()
    """The files of the other components, where the component is added as a model or IP-Adapter."""
    written: Path | None = None
    """The file of safetensors as which the weights of a pickle were written, and are added."""

    @property
    def slug(self) -> str:
        """A slug made of the name of the file or folder; of a snapshot in the hub's cache that of its repository."""
        name = self.path.name if self.path.is_dir() else self.path.stem
        if self.kind is Kind.IP_ADAPTER and self.path.is_dir():
            name = self.variant
        if self.path.parent.name == "snapshots":
            name = self.path.parent.parent.name.rpartition("--")[2]
        return slug_of(name)

    @property
    def lacks_components(self) -> bool:
        """Whether it is a model whose file holds one component alone."""
        return self.kind is Kind.CHECKPOINT and self.component != ""

    @property
    def lacks_encoder(self) -> bool:
        """Whether it is an IP-Adapter whose file holds no image encoder."""
        return self.kind is Kind.IP_ADAPTER and self.path.is_file()

    @property
    def size(self) -> int:
        """Bytes of the file; 0 for a folder."""
        return self.path.stat().st_size if self.path.is_file() else 0

    @property
    def weights(self) -> Sequence[Path | TensorSlice]:
        """The files of weights that may belong to it."""
        if self.lacks_components:
            file = read_component_file(self.path, self.family)
            return [*file.weights(file.files_by_component(self.parts)).values()]
        if self.lacks_encoder:
            return [self.path, *map(weights, self.parts)]
        if self.path.is_file():
            return [self.written or self.path]
        files = [path for path in self.path.rglob("*") if path.suffix in (WEIGHTS, ONNX)]
        if self.kind is Kind.IP_ADAPTER:  # others lie beside it
            return [path for path in files if path.parent.name == IMAGE_ENCODER or path.stem == self.variant]
        return files


def check_path(path: Path, look: Callable[[Path], FoundModel | None]) -> FoundModel | None:
    """Return what `look` finds, with the reason for which it was refused."""
    try:
        return look(path)
    except ModelRefused as error:
        return FoundModel(path, reason=error.message)
    except OSError as error:
        return FoundModel(path, reason=f"It cannot be read: {error.strerror or error}.")
