"""ControlNets: the conditioning image of a request, and the residuals that a ControlNet adds to the UNet's features.

L. Zhang et al., "Adding Conditional Control to Text-to-Image Diffusion Models" (ICCV 2023).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from diffusers import ControlNetUnionModel
from numpy.typing import NDArray

from inpainting import families
from inpainting.catalog.specs import ControlImageKind, ModelSpec
from inpainting.core.codecs import to_rgb8
from inpainting.core.errors import EngineFailed
from inpainting.core.image import CanonicalImage
from inpainting.core.request import ControlUse, InpaintRequest
from inpainting.core.sentences import mark, sentence
from inpainting.engines.conditioning_images import control_image_of
from inpainting.engines.diffusion.latent_codec import LatentCodec

CANNY_THRESHOLDS = (100, 200)
"""Hysteresis thresholds of the edge detector, as in the examples of diffusers' ControlNet pipelines."""
MATCHING_SETTINGS = (
    "block_out_channels",
    "cross_attention_dim",
    "addition_embed_type",
    "projection_class_embeddings_input_dim",
)
"""Configuration values that a ControlNet and its UNet have in common."""
NEVER_APPLIED = mark("The ControlNet {name} was applied in no step: none lies between its start and its end.")
LATENT_CHANNELS, IMAGE_CHANNELS = 4, 3
HOLE = -1.0
"""Value of masked pixels in the conditioning image of an inpainting ControlNet."""
UNION_MODES = {
    ControlImageKind.OPENPOSE: 0,
    ControlImageKind.DEPTH: 1,
    ControlImageKind.SOFTEDGE: 2,
    ControlImageKind.SCRIBBLE: 2,
    ControlImageKind.CANNY: 3,
    ControlImageKind.LINEART: 3,
    ControlImageKind.NORMAL: 4,
    ControlImageKind.SEGMENT: 5,
    ControlImageKind.TILE: 6,
    ControlImageKind.INPAINT: 7,
}
"""The published modes of ControlNet-Union for SDXL (xinsir/controlnet-union-sdxl-1.0); the last two are of ProMax.

Masked pixels of the control image are black for `inpaint`.
"""


@dataclass(frozen=True, slots=True, eq=False)
class ControlNetConditioning:
    """A ControlNet for one sample, applied between two shares of the steps, 0 to 1.

    image: in float32. For a UNet [1, 3, 8h, 8w], 0 to 1, HOLE where an inpainting ControlNet sees masked pixels; for a
    transformer what its family makes of it.
    mode: of a ControlNet-Union that takes one, the number of its kind of control image.
    predicts_kept_part: whether with it the model predicts the part that the mask keeps, as inpainting models do, so
    that the source's latents are not restored there.
    """

    slug: str
    network: Any
    image: torch.Tensor
    strength: float = 1.0
    start: float = 0.0
    end: float = 1.0
    mode: int | None = None
    predicts_kept_part: bool = False

    def strength_at(self, index: int, steps: int) -> float:
        """0 in a step that does not lie wholly within the interval, as in diffusers' pipelines."""
        is_inside = index / steps >= self.start and (index + 1) / steps <= self.end
        return self.strength if is_inside else 0.0

    def applies_in(self, steps: int) -> bool:
        """Whether it is applied in any of `steps` steps."""
        return any(self.strength_at(index, steps) for index in range(steps))


@dataclass(frozen=True, slots=True)
class RequestedControl:
    """A ControlNet of a request. image: the control image that is meant for it; None where none was sent."""

    spec: ModelSpec
    use: ControlUse
    image: CanonicalImage | None


def requested_controls(specs: Sequence[ModelSpec], request: InpaintRequest) -> list[RequestedControl]:
    """The ControlNets of a request in their order, without those of strength 0. specs: each once."""
    by_slug = {spec.slug: spec for spec in specs}
    listed = request.settings.control_uses or tuple(ControlUse(slug) for slug in by_slug)
    uses = [(number, by_slug[use.slug], use) for number, use in enumerate(listed) if use.slug in by_slug]
    kinds = {number: kind_of_image(spec, use) for number, spec, use in uses if use.strength}
    sent = request.conditioning_images
    return [
        RequestedControl(spec, use, sent.get(control_image_of(number, kinds, sent) or ""))
        for number, spec, use in uses
        if number in kinds
    ]


def condition(network: Any, control: RequestedControl, request: InpaintRequest, device: Any) -> ControlNetConditioning:
    """Prepare a ControlNet of a request. Raises EngineFailed, `control_image_missing`, without the image it needs."""
    spec, use = control.spec, control.use
    image = torch.from_numpy(conditioning_image(spec, use, request, control.image)).permute(2, 0, 1)[None]
    return ControlNetConditioning(
        spec.slug,
        network,
        image.to(device),
        strength=use.strength,
        start=use.start,
        end=use.end,
        mode=UNION_MODES[kind_of_image(spec, use)] if spec.control is ControlImageKind.UNION else None,
    )


def kind_of_image(spec: ModelSpec, use: ControlUse) -> ControlImageKind:
    """The kind of control image; of a ControlNet-Union the requested one."""
    if spec.control is ControlImageKind.UNION:
        return ControlImageKind(use.type or ControlImageKind.CANNY)
    return spec.control or ControlImageKind.CANNY


def conditioning_image(
    spec: ModelSpec, use: ControlUse, request: InpaintRequest, sent: CanonicalImage | None
) -> NDArray[np.float32]:
    """The input of a ControlNet, [height, width, 3] of the window's size; see `ControlNetConditioning.image`.

    sent: the control image, where it is meant for this ControlNet.
    """
    window = np.asarray(request.image.pixels, np.uint8)
    control = kind_of_image(spec, use)
    if control is ControlImageKind.INPAINT:
        image = to_unit_range(window)
        image[request.mask > 127] = 0.0 if spec.control is ControlImageKind.UNION else HOLE
        return image
    if control is ControlImageKind.CANNY:
        edges = cv2.Canny(window, *CANNY_THRESHOLDS)
        return to_unit_range(np.repeat(edges[:, :, None], IMAGE_CHANNELS, axis=2))
    if sent is not None:
        return to_unit_range(to_rgb8(sent))
    if control is ControlImageKind.TILE:
        return to_unit_range(window)
    raise EngineFailed(
        sentence(
            "The ControlNet {slug} needs a control image ({control}), and none was sent.",
            slug=spec.slug,
            control=control,
        ),
        code="control_image_missing",
    )


def signed(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """0 to 1 -> -1 to 1."""
    return 2 * pixels - 1


def control_latents(
    control: RequestedControl,
    request: InpaintRequest,
    codec: LatentCodec,
    normalise: Callable[[NDArray[np.float32]], NDArray[np.float32]] = signed,
) -> torch.Tensor:
    """Return the control image of a transformer's ControlNet as latents, [1, c, h, w] in float32.

    normalise: makes of pixels from 0 to 1 what the VAE encodes.
    """
    pixels = conditioning_image(control.spec, control.use, request, control.image)
    return codec.encode(torch.from_numpy(normalise(pixels)).permute(2, 0, 1)[None], None)


def to_unit_range(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """0 to 255 -> 0 to 1."""
    return pixels.astype(np.float32) / np.float32(255)


def check_fits(network: Any, unet: Any, spec: ModelSpec, label: str, use: ControlUse) -> None:
    """Raises EngineFailed, `adapter_unfit`, unless the ControlNet was made for UNets of that shape and knows the
    requested kind of control image."""
    if (spec.control is ControlImageKind.UNION) != is_union(network):
        actual, stated = "a ControlNet-Union", "a ControlNet for one kind of control image"
        if not is_union(network):
            actual, stated = stated, actual
        raise EngineFailed(
            sentence(
                "The files of the ControlNet {slug} are those of {actual}; the catalog states {stated}.",
                slug=spec.slug,
                actual=actual,
                stated=stated,
            ),
            code="adapter_unfit",
        )
    control = kind_of_image(spec, use)
    if is_union(network) and UNION_MODES[control] >= network.config.num_control_type:
        raise EngineFailed(
            sentence("The ControlNet {slug} was not trained on {control}.", slug=spec.slug, control=control),
            code="adapter_unfit",
        )
    own, model = network.config, unet.config
    is_fit = all(as_tuple(getattr(own, name)) == as_tuple(getattr(model, name)) for name in MATCHING_SETTINGS)
    is_fit &= per_block(own.layers_per_block, own) == per_block(model.layers_per_block, model)
    is_fit &= (own.in_channels, own.conditioning_channels) == (LATENT_CHANNELS, IMAGE_CHANNELS)
    if not is_fit:
        raise unfit(spec, label)


def check_kind(control: RequestedControl, *, inpaints: bool) -> None:
    """Check that a ControlNet of a transformer knows the requested kind of control image.

    inpaints: whether it sees the masked image. Raises EngineFailed, `adapter_unfit`.
    """
    spec, kind = control.spec, kind_of_image(control.spec, control.use)
    support = families.get(spec.family).controlnet
    is_known = spec.control is not ControlImageKind.UNION or (support is not None and kind in support.kinds)
    if not is_known or (kind is ControlImageKind.INPAINT and not inpaints):
        raise EngineFailed(
            sentence("The ControlNet {slug} was not trained on {kind}.", slug=spec.slug, kind=kind),
            code="adapter_unfit",
        )


def unfit(spec: ModelSpec, label: str) -> EngineFailed:
    """Return the error for a ControlNet of another shape. label: of the model."""
    return EngineFailed(
        sentence(
            "The ControlNet {slug} does not fit {label}: it was made for models of another shape.",
            slug=spec.slug,
            label=label,
        ),
        code="adapter_unfit",
    )


def is_union(network: Any) -> bool:
    return isinstance(network, ControlNetUnionModel)


def as_tuple(value: Any) -> Any:
    """A configuration's list as a tuple, so that the two compare equal; any other value as it is."""
    return tuple(value) if isinstance(value, list) else value


def per_block(layers: Any, configuration: Any) -> tuple[int, ...]:
    """`layers_per_block` written out for each block."""
    return (layers,) * len(configuration.block_out_channels) if isinstance(layers, int) else tuple(layers)


def residuals(
    samples: Sequence[tuple[Sequence[tuple[ControlNetConditioning, float]], int]],
    inputs: torch.Tensor,
    timesteps: torch.Tensor,
    embeds: torch.Tensor,
    conditions: dict[str, Any],
) -> dict[str, Any]:
    """The UNet's keyword arguments with the sum of all ControlNets' outputs, each times its strength, as by diffusers'
    MultiControlNetModel: one call of each ControlNet for all samples that it is applied to in this step.

    samples: the ControlNets of each with their strengths in this step, and the sample's rows of the step batch.
    inputs: [rows, 4 or 9, h, w], of which the ControlNet sees the noisy latents alone. timesteps: [rows]. embeds:
    [rows, tokens, features]. conditions: the UNet's further keyword arguments. Rows without a ControlNet in this step
    get residuals of 0.
    """
    count = sum(rows for _, rows in samples)
    totals: list[torch.Tensor] = []
    for (_, mode), controlled in controlled_samples(samples).items():
        index = torch.tensor([row for one in controlled for row in one.rows], device=inputs.device)
        scales = torch.tensor([one.strength for one in controlled for _ in one.rows], device=inputs.device)
        outputs = call_controlnet(controlled, mode, inputs, timesteps, embeds, conditions, index)
        scaled = [(output * scales[:, None, None, None]).to(inputs.dtype) for output in outputs]
        if len(index) == count and not totals:
            totals = scaled
            continue
        # Not multiplied by 0: half-precision features of an uncontrolled row may be infinite.
        totals = totals or [output.new_zeros(count, *output.shape[1:]) for output in scaled]
        totals = [total.index_add(0, index, output) for total, output in zip(totals, scaled, strict=True)]
    if not totals:
        return {}
    return {"down_block_additional_residuals": totals[:-1], "mid_block_additional_residual": totals[-1]}


@dataclass(frozen=True, slots=True, eq=False)
class Controlled:
    """A sample that a ControlNet is applied to in this step. rows: of the step batch."""

    control: ControlNetConditioning
    strength: float
    rows: range


def controlled_samples(
    samples: Sequence[tuple[Sequence[tuple[ControlNetConditioning, float]], int]],
) -> dict[tuple[int, int | None], list[Controlled]]:
    """Return the samples of each call of a ControlNet in this step, which have one network and one mode.

    samples: as `residuals` takes them.
    """
    calls: dict[tuple[int, int | None], list[Controlled]] = {}
    count = 0
    for controls, rows in samples:
        for control, strength in controls:
            if strength:
                key = id(control.network), control.mode
                calls.setdefault(key, []).append(Controlled(control, strength, range(count, count + rows)))
        count += rows
    return calls


def call_controlnet(
    controlled: Sequence[Controlled],
    mode: int | None,
    inputs: torch.Tensor,
    timesteps: torch.Tensor,
    embeds: torch.Tensor,
    conditions: dict[str, Any],
    index: torch.Tensor,
) -> list[torch.Tensor]:
    """The ControlNet's outputs for some rows of the step batch, that of the middle block last; see `residuals`."""
    network = controlled[0].control.network
    dtype = network.dtype  # the UNet may have been turned to bfloat16 since
    image = torch.cat([one.control.image.expand(len(one.rows), -1, -1, -1) for one in controlled]).to(dtype)
    more: dict[str, Any] = {"controlnet_cond": image}
    if mode is not None:
        types = torch.zeros(len(index), network.config.num_control_type, dtype=dtype, device=inputs.device)
        types[:, mode] = 1
        more = {"controlnet_cond": [image], "control_type": types, "control_type_idx": [mode]}
    added = conditions.get("added_cond_kwargs")
    down, middle = network(
        inputs[index, :LATENT_CHANNELS].to(dtype),
        timesteps[index],
        encoder_hidden_states=embeds[index].to(dtype),
        added_cond_kwargs=None
        if added is None
        else {key: residual[index].to(dtype) for key, residual in added.items()},
        return_dict=False,
        **more,
    )
    return [*down, middle]
