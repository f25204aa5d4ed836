"""VAEs are accepted for a family by the latents in their configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from inpainting.catalog.inspection.adapter_files import check_adapter
from inpainting.catalog.inspection.files import ModelRefused
from inpainting.catalog.specs import Kind
from tests.support.adapter_folders import network


@pytest.mark.parametrize(
    ("family", "configuration"),
    [
        ("sd", {"_class_name": "AutoencoderKL", "latent_channels": 4, "scaling_factor": 0.18215}),
        ("sdxl", {"_class_name": "AutoencoderKL", "latent_channels": 4, "scaling_factor": 0.13025}),
        ("sd", {"_class_name": "AutoencoderTiny", "latent_channels": 4, "scaling_factor": 1.0}),
        ("sdxl", {"_class_name": "AutoencoderTiny", "latent_channels": 4, "scaling_factor": 1}),
        ("flux-fill", {"_class_name": "AutoencoderKL", "latent_channels": 16, "scaling_factor": 0.3611}),
        ("z-image", {"_class_name": "AutoencoderKL", "latent_channels": 16, "scaling_factor": 0.3611}),
        ("sd", {"_class_name": "AutoencoderKL"}),  # older files have no scaling factor
    ],
)
def test_vaes_of_the_family_are_accepted(family: str, configuration: dict[str, object], tmp_path: Path) -> None:
    check_adapter(network(tmp_path / "vae", **configuration), family, Kind.VAE)


@pytest.mark.parametrize(
    ("family", "configuration", "message"),
    [
        ("sd", {"scaling_factor": 0.13025}, "for models of the family sdxl, not sd"),
        ("sdxl", {"scaling_factor": 0.18215}, "for models of the family sd, not sdxl"),
        ("sd", {"latent_channels": 16}, "latents of “16” channels|latents of 16 channels"),
        ("sd", {"latent_channels": {"a": 1}}, "channels, not 4"),
        ("sd", {"scaling_factor": 0.3611}, "chroma or flux-dev or flux-fill or flux-kontext or z-image, not sd"),
        ("flux-fill", {"scaling_factor": 0.3611}, "latents of “4” channels, not 16"),
    ],
)
def test_vaes_with_other_latents_are_refused(
    family: str, configuration: dict[str, object], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ModelRefused, match=message):
        check_adapter(network(tmp_path / "vae", _class_name="AutoencoderKL", **configuration), family, Kind.VAE)


@pytest.mark.parametrize("class_name", ["AutoencoderKL", "AutoencoderTiny"])
def test_a_family_with_vaes_of_another_class_takes_no_other(class_name: str, tmp_path: Path) -> None:
    with pytest.raises(ModelRefused, match="qwen-image take no other VAE than their own"):
        check_adapter(network(tmp_path / "vae", _class_name=class_name, latent_channels=16), "qwen-image", Kind.VAE)
