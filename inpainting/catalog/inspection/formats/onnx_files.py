"""ONNX networks, checked without loading them.

The graph of each is made of ONNX's own operators and holds all of its numbers itself.
"""

from __future__ import annotations

from pathlib import Path

from inpainting.catalog.inspection.files import ONNX, ModelRefused, check_names, quote
from inpainting.catalog.inspection.formats import onnx_protobuf
from inpainting.catalog.inspection.formats.onnx_protobuf import OnnxFile
from inpainting.core.sentences import every, sentence
from inpainting.families.layouts import ANY_NAME, OnnxLayout

MAX_ONNX_BYTES = 2**30
"""The largest that is published has 973 MB; protobuf itself ends at 2 GB."""
ONNX_DOMAINS = frozenset({"", "ai.onnx"})
"""Operator domains that a graph may use: ONNX's own, by either name. Others run libraries of third parties."""
ONNX_SIDES = (64, 2048)


def check_onnx(path: Path, family: str, layout: OnnxLayout) -> None:
    """Check one ONNX file with the inputs and the output of that family. Raises ModelRefused."""
    check_names([path.name])
    if path.suffix.lower() != ONNX or not path.is_file():
        raise ModelRefused(
            sentence(
                "{file} is no {suffix} file; the family {family} is one such file.",
                file=path.name,
                suffix=ONNX,
                family=family,
            )
        )
    file = read_onnx(path)
    check_inputs_and_output(path.name, file, family, layout)
    for operator in sorted(file.operators & layout.refusals.keys()):
        raise ModelRefused(
            sentence(
                "{file} {reason}, so it is not of the family {family}.",
                file=path.name,
                reason=layout.refusals[operator],
                family=family,
            )
        )


def read_onnx(path: Path) -> OnnxFile:
    """Read the declarations of an ONNX file. Raises ModelRefused for a damaged one, and where it needs other files."""
    check_onnx_size(path.name, path.stat().st_size)
    try:
        file = onnx_protobuf.read(path)
    except ValueError as error:
        raise ModelRefused(
            sentence("{file} is no {suffix} file, or it is damaged: {error}.", file=path.name, suffix=ONNX, error=error)
        ) from error
    if file.is_external:
        raise ModelRefused(
            sentence("{file} needs numbers of another file; a network must hold them itself.", file=path.name)
        )
    foreign = sorted(file.domains - ONNX_DOMAINS)
    if foreign or "function" in file.messages or "training" in file.messages:
        what = (
            sentence("operators of {domain}", domain=quote(foreign[0]))
            if foreign
            else sentence("functions or training of its own")
        )
        raise ModelRefused(
            sentence("{file} uses {what}; only ONNX's own operators are taken.", file=path.name, what=what)
        )
    return file


def check_onnx_size(name: str, size: int) -> None:
    if size > MAX_ONNX_BYTES:
        raise ModelRefused(sentence("{file} is larger than {most} MB.", file=name, most=MAX_ONNX_BYTES // 2**20))


def check_inputs_and_output(name: str, file: OnnxFile, family: str, layout: OnnxLayout) -> None:
    """Inputs: [1, channels, side, side]; at least one output. Any size may be free."""
    number, type_name = layout.element_type
    wanted = dict(layout.inputs)
    if ANY_NAME in wanted and len(file.inputs) == 1:
        wanted = {next(iter(file.inputs)): wanted[ANY_NAME]}
    if set(file.inputs) != set(wanted) or not file.outputs:
        names = ", ".join(sorted(file.inputs)) or "nothing"
        expected = sentence("one image") if ANY_NAME in wanted else every(wanted)
        raise ModelRefused(
            sentence(
                "{file} takes {found}; the family {family} takes {expected}.",
                file=name,
                found=quote(names),
                family=family,
                expected=expected,
            )
        )
    output = next(iter(file.outputs.values()))
    if layout.output_channels is not None and output.shape[1:2] not in ((None,), (layout.output_channels,)):
        raise ModelRefused(
            sentence(
                "{file} returns no image of {channels} channels, as the family {family} does.",
                file=name,
                channels=layout.output_channels,
                family=family,
            )
        )
    for value in (*file.inputs.values(), output):
        if value.type != number:
            raise ModelRefused(
                sentence(
                    "{file} takes or gives something else than {type_name}, so it is not of the family {family}.",
                    file=name,
                    type_name=type_name,
                    family=family,
                )
            )
    sides = set()
    for part, channels in wanted.items():
        shape = file.inputs[part].shape
        if len(shape) != 4 or shape[0] not in (None, 1) or shape[1] not in (None, channels):
            raise ModelRefused(
                sentence(
                    "{file} takes {input} in another shape than [1, {channels}, height, width].",
                    file=name,
                    input=quote(part),
                    channels=channels,
                )
            )
        sides |= set(shape[2:])
    if len(sides) > 1 or not all(side is None or ONNX_SIDES[0] <= side <= ONNX_SIDES[1] for side in sides):
        raise ModelRefused(
            sentence(
                "{file} must take squares of {least} to {most} pixels, or any size.",
                file=name,
                least=ONNX_SIDES[0],
                most=ONNX_SIDES[1],
            )
        )
