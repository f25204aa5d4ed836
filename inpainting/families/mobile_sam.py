"""MobileSAM: Segment Anything with a small encoder (C. Zhang et al. 2023, arXiv 2306.14289), as two ONNX networks."""

from __future__ import annotations

from inpainting.families import register
from inpainting.families.declaration import SEGMENTATION, ModelFamily
from inpainting.families.layouts import OnnxFolderLayout

MOBILE_SAM = register(
    ModelFamily(
        name="mobile-sam",
        label="MobileSAM",
        engine=SEGMENTATION,
        layout=OnnxFolderLayout(
            {
                "mobile_sam_image_encoder.onnx": {"input_image": (None, None, 3)},
                "sam_mask_decoder_multi.onnx": {
                    "image_embeddings": (1, 256, 64, 64),
                    "point_coords": (1, None, 2),
                    "point_labels": (1, None),
                    "mask_input": (1, 1, 256, 256),
                    "has_mask_input": (1,),
                    "orig_im_size": (2,),
                },
            }
        ),
        implementation="inpainting.segmenters.networks.promptable:MOBILE_SAM",
    )
)
