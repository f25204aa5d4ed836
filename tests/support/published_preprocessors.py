"""The `preprocessor_config.json` of published models, and what networks are fed by them.

The networks of the tests are tiny and random, and with them come settings that fit them: those hide wrong sizes,
filters, orders of channels and normalisations. These are the settings that the published weights come with, by their
repository on the hub, and beside them the steps of the authors' own code, written with Pillow.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
CLIP = {
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
}
SCALED = {"do_rescale": True, "rescale_factor": 0.00392156862745098}
DETECTION = {"do_resize": True, "format": "coco_detection", "resample": 2, **SCALED}
PUBLISHED: dict[str, dict[str, Any]] = {
    # facebook/sam-vit-base; those of the larger ones and of Zigeng/SlimSAM-uniform-77 have as many bytes
    "sam": {
        **{"do_convert_rgb": True, "do_normalize": True, "do_pad": True, "do_resize": True, "resample": 2},
        **{"image_processor_type": "SamImageProcessor", "processor_class": "SamProcessor", **IMAGENET, **SCALED},
        **{"pad_size": {"height": 1024, "width": 1024}, "size": {"longest_edge": 1024}},
    },
    # IDEA-Research/grounding-dino-tiny
    "grounding-dino": {
        **{"do_normalize": True, "do_pad": True, **DETECTION, **IMAGENET},
        **{"image_processor_type": "GroundingDinoImageProcessor", "processor_class": "GroundingDinoProcessor"},
        "size": {"longest_edge": 1333, "shortest_edge": 800},
    },
    # Salesforce/blip-image-captioning-base: of an earlier transformers, with a number for the size and no filter
    "blip": {
        **{"do_normalize": True, "do_resize": True, **CLIP, "size": 384},
        **{"image_processor_type": "BlipImageProcessor", "processor_class": "BlipProcessor"},
    },
    # microsoft/Florence-2-base, of which florence-community/Florence-2-base is a conversion
    "florence2": {
        "auto_map": {"AutoProcessor": "processing_florence2.Florence2Processor"},
        **{"do_convert_rgb": None, "do_normalize": True, "do_resize": True, "do_center_crop": False, **SCALED},
        **{"image_processor_type": "CLIPImageProcessor", "processor_class": "Florence2Processor", **IMAGENET},
        **{"image_seq_length": 577, "resample": 3, "size": {"height": 768, "width": 768}},
        "crop_size": {"height": 768, "width": 768},
    },
    # depth-anything/Depth-Anything-V2-Small-hf
    "depth-anything": {
        **{
            "do_normalize": True,
            "do_pad": False,
            "do_resize": True,
            "ensure_multiple_of": 14,
            "keep_aspect_ratio": True,
        },
        **{"image_processor_type": "DPTImageProcessor", "resample": 3, "size_divisor": None, **IMAGENET, **SCALED},
        "size": {"height": 518, "width": 518},
    },
    # PekingU/rtdetr_r18vd_coco_o365
    "rt-detr": {
        **{"do_convert_annotations": True, "do_normalize": False, "do_pad": False, **DETECTION, **IMAGENET},
        **{"image_processor_type": "RTDetrImageProcessor", "pad_size": None, "size": {"height": 640, "width": 640}},
    },
    # usyd-community/vitpose-base-simple
    "vitpose": {
        **{"do_affine_transform": True, "do_normalize": True, "normalize_factor": 200.0, **IMAGENET, **SCALED},
        **{"image_processor_type": "VitPoseImageProcessor", "size": {"height": 256, "width": 192}},
    },
    # CompVis/stable-diffusion-safety-checker: of an earlier transformers, with numbers for the sizes
    "safety-checker": {
        **{"crop_size": 224, "do_center_crop": True, "do_convert_rgb": True, "do_normalize": True, "do_resize": True},
        **{"feature_extractor_type": "CLIPFeatureExtractor", **CLIP, "resample": 3, "size": 224},
    },
}


def put_into(folder: Path, family: str) -> Path:
    """Put the published settings in place of those in the folder of a tiny model."""
    (folder / "preprocessor_config.json").write_text(json.dumps(PUBLISHED[family]))
    return folder


class Fed(Exception):
    """What a network was fed, raised in its place."""

    def __init__(self, inputs: dict[str, Any]) -> None:
        super().__init__()
        self.inputs = inputs


class Recorder:
    """In place of a loaded model."""

    device = "cpu"

    def __call__(self, **inputs: Any) -> Any:
        raise Fed(inputs)

    generate = __call__


def fed_by(run: Callable[[], Any]) -> dict[str, Any]:
    """The inputs of the Recorder that `run` calls."""
    try:
        run()
    except Fed as fed:
        return fed.inputs
    raise AssertionError("the network was not called")


def scaled(
    photo: NDArray[np.uint8], width: int, height: int, filter: Image.Resampling, normalisation: dict[str, Any] | None
) -> NDArray[Any]:
    """[3, height, width]: the photo as torchvision's Resize, ToTensor and Normalize make it, of a Pillow image."""
    values = np.asarray(Image.fromarray(photo).resize((width, height), filter), np.float64) / 255
    if normalisation:
        values = (values - normalisation["image_mean"]) / normalisation["image_std"]
    return values.transpose(2, 0, 1)
