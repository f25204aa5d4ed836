"""Segmenters, captioners and preprocessors with random weights and a few layers, in transformers' layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.dpt.image_processing_pil_dpt import DPTImageProcessorPil
from transformers.models.grounding_dino.image_processing_pil_grounding_dino import GroundingDinoImageProcessorPil
from transformers.models.rt_detr.image_processing_pil_rt_detr import RTDetrImageProcessorPil
from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil
from transformers.models.vitpose.image_processing_pil_vitpose import VitPoseImageProcessorPil

SIDE = 64
WORDS = (
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "[DEC]",
    ".",
    "a",
    "cup",
    "photo",
    "of",
    "red",
    "disc",
    "dog",
    "anime",
    "<image>",
    *("what", "does", "the", "image", "describe", "?"),
)


def tokenizer(**options: Any) -> Any:
    """options: of the class, such as `image_token`."""
    made = Tokenizer(WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="[UNK]"))
    made.normalizer = Lowercase()
    made.pre_tokenizer = BertPreTokenizer()
    made.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    names = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
    inputs = ["input_ids", "token_type_ids", "attention_mask"]
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, **{"model_input_names": inputs, **names, **options}
    )


def sam() -> Any:
    torch.manual_seed(1)
    vision = {
        **{"hidden_size": 16, "output_channels": 32, "num_hidden_layers": 2, "num_attention_heads": 2},
        **{
            "image_size": SIDE,
            "patch_size": 16,
            "mlp_dim": 32,
            "global_attn_indexes": [1],
            "window_size": 2,
            "num_pos_feats": 16,
        },
    }
    prompt = {
        "hidden_size": 32,
        "image_size": SIDE,
        "patch_size": 16,
        "image_embedding_size": 4,
        "mask_input_channels": 4,
    }
    decoder = {
        **{"hidden_size": 32, "mlp_dim": 32, "num_hidden_layers": 2, "num_attention_heads": 2},
        **{"iou_head_hidden_dim": 16, "iou_head_depth": 2, "attention_downsample_rate": 2},
    }
    config = transformers.SamConfig(vision_config=vision, prompt_encoder_config=prompt, mask_decoder_config=decoder)
    return transformers.SamModel(config)


def sam2() -> Any:
    torch.manual_seed(2)
    backbone = {
        **{"hidden_size": 8, "num_attention_heads": 1, "image_size": [SIDE, SIDE], "blocks_per_stage": [1, 1, 2, 1]},
        **{"embed_dim_per_stage": [8, 16, 32, 64], "num_attention_heads_per_stage": [1, 2, 4, 8]},
        **{"window_size_per_stage": [4, 2, 2, 2], "global_attention_blocks": [3], "model_type": "sam2_hiera_det_model"},
        **{"window_positional_embedding_background_size": [2, 2]},
    }
    vision = {
        **{"backbone_config": backbone, "backbone_channel_list": [64, 32, 16, 8], "fpn_hidden_size": 32},
        "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
    }
    prompt = {"hidden_size": 32, "image_size": SIDE, "patch_size": 16, "mask_input_channels": 4}
    decoder = {
        **{"hidden_size": 32, "mlp_dim": 32, "num_hidden_layers": 2, "num_attention_heads": 2},
        **{"iou_head_hidden_dim": 16, "iou_head_depth": 2, "attention_downsample_rate": 2},
    }
    config = transformers.Sam2Config(vision_config=vision, prompt_encoder_config=prompt, mask_decoder_config=decoder)
    return transformers.Sam2Model(config)


def sam2_video() -> Any:
    """A model for videos, in whose layout SAM 2 is published."""
    image = sam2().config
    config = transformers.Sam2VideoConfig(
        vision_config=image.vision_config.to_dict(), prompt_encoder_config=image.prompt_encoder_config.to_dict(),
        mask_decoder_config=image.mask_decoder_config.to_dict(), image_size=SIDE,
        memory_attention_hidden_size=32, memory_attention_num_layers=1, memory_attention_rope_feat_sizes=[4, 4],
        memory_attention_feed_forward_hidden_size=32, memory_encoder_hidden_size=32, memory_encoder_output_channels=8,
        mask_downsampler_embed_dim=32, memory_fuser_embed_dim=32, memory_fuser_intermediate_dim=32,
        memory_fuser_num_layers=1,
    )  # fmt: skip
    torch.manual_seed(9)
    return transformers.Sam2VideoModel(config)


def grounding_dino() -> Any:
    torch.manual_seed(3)
    backbone = transformers.SwinConfig(
        image_size=SIDE, patch_size=4, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 2, 2, 4], window_size=4,
        out_features=["stage2", "stage3", "stage4"],
    )  # fmt: skip
    text = {
        **{"vocab_size": len(WORDS), "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2},
        **{"intermediate_size": 16, "max_position_embeddings": 64, "model_type": "bert"},
    }
    config = transformers.GroundingDinoConfig(
        backbone_config=backbone, text_config=text, d_model=32, encoder_layers=1, decoder_layers=2, num_queries=8,
        encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16,
        num_feature_levels=4, max_text_len=32, disable_custom_kernels=True,
    )  # fmt: skip
    return transformers.GroundingDinoForObjectDetection(config)


def blip() -> Any:
    torch.manual_seed(4)
    text = {
        **{"vocab_size": len(WORDS), "hidden_size": 16, "encoder_hidden_size": 16, "intermediate_size": 16},
        **{"projection_dim": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 64},
        **{"bos_token_id": 5, "pad_token_id": 0, "eos_token_id": 3, "sep_token_id": 3},
    }
    vision = {
        **{"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2},
        **{"image_size": SIDE, "patch_size": 16},
    }
    return transformers.BlipForConditionalGeneration(transformers.BlipConfig(text_config=text, vision_config=vision))


def florence2() -> Any:
    torch.manual_seed(5)
    text = {
        **{"model_type": "bart", "vocab_size": len(WORDS), "d_model": 32, "max_position_embeddings": 64},
        **{"encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 16},
        **{"decoder_layers": 1, "decoder_attention_heads": 2, "decoder_ffn_dim": 16},
        **{"bos_token_id": 2, "pad_token_id": 0, "eos_token_id": 3, "decoder_start_token_id": 3},
        **{"forced_bos_token_id": 2, "forced_eos_token_id": 3},
    }
    vision = {
        **{"embed_dim": [8, 16, 32, 64], "num_heads": [1, 2, 2, 4], "num_groups": [1, 2, 2, 4]},
        **{"depths": [1, 1, 1, 1], "window_size": 2, "projection_dim": 32},
    }
    config = transformers.Florence2Config(text_config=text, vision_config=vision, image_token_id=WORDS.index("<image>"))
    return transformers.Florence2ForConditionalGeneration(config)


def depth_anything() -> Any:
    torch.manual_seed(6)
    backbone = transformers.Dinov2Config(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, mlp_ratio=2, image_size=SIDE, patch_size=8,
        out_features=["stage1", "stage2"], reshape_hidden_states=False, apply_layernorm=True,
    )  # fmt: skip
    config = transformers.DepthAnythingConfig(
        backbone_config=backbone, patch_size=8, reassemble_hidden_size=16, reassemble_factors=[2, 1],
        neck_hidden_sizes=[8, 16], fusion_hidden_size=8, head_in_index=-1, head_hidden_size=8,
    )  # fmt: skip
    return transformers.DepthAnythingForDepthEstimation(config)


def rt_detr() -> Any:
    """It finds nothing; its class 0 is people, as of the published ones."""
    torch.manual_seed(7)
    backbone = transformers.RTDetrResNetConfig(
        embedding_size=8, hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 1, 1], layer_type="basic", out_indices=[2, 3, 4]
    )
    config = transformers.RTDetrConfig(
        backbone_config=backbone, num_labels=2, d_model=16, num_queries=8, encoder_hidden_dim=16,
        encoder_in_channels=[8, 16, 16], encoder_ffn_dim=16, encoder_attention_heads=2, decoder_in_channels=[16] * 3,
        decoder_ffn_dim=16, decoder_layers=2, decoder_attention_heads=2,
    )  # fmt: skip
    return transformers.RTDetrForObjectDetection(config)


def vitpose() -> Any:
    torch.manual_seed(8)
    backbone = transformers.VitPoseBackboneConfig(
        image_size=(SIDE, SIDE * 3 // 4), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, mlp_ratio=2,
        out_indices=[2],
    )  # fmt: skip
    return transformers.VitPoseForPoseEstimation(transformers.VitPoseConfig(backbone_config=backbone, num_labels=17))


MODELS = {
    **{"sam": sam, "sam2": sam2, "grounding-dino": grounding_dino, "blip": blip, "florence2": florence2},
    **{"depth-anything": depth_anything, "rt-detr": rt_detr, "vitpose": vitpose},
}


def saved(folder: Path, name: str) -> Path:
    """Save the model of that name with what its family needs beside it."""
    model = MODELS[name]()
    model.eval().save_pretrained(folder)
    square = {"height": SIDE, "width": SIDE}
    processors = {
        "sam": lambda: SamImageProcessorPil(
            size={"longest_edge": SIDE},
            pad_size=square,
            mask_size={"longest_edge": 16},
            mask_pad_size={"height": 16, "width": 16},
        ),
        "grounding-dino": lambda: GroundingDinoImageProcessorPil(
            size={"shortest_edge": SIDE, "longest_edge": 2 * SIDE}
        ),
        "blip": lambda: BlipImageProcessorPil(size=square),
        "depth-anything": lambda: DPTImageProcessorPil(size=square, keep_aspect_ratio=True, ensure_multiple_of=8),
        "rt-detr": lambda: RTDetrImageProcessorPil(size=square),
        "vitpose": lambda: VitPoseImageProcessorPil(size={"height": SIDE, "width": SIDE * 3 // 4}),
        "florence2": lambda: CLIPImageProcessorPil(
            size=square,
            do_center_crop=False,
            image_mean=[0.485, 0.456, 0.406],
            image_std=[0.229, 0.224, 0.225],
            image_seq_length=5,
        ),
    }
    if name == "sam2":
        (folder / "preprocessor_config.json").write_text('{"image_processor_type": "Sam2ImageProcessorFast"}')
    else:
        processors[name]().save_pretrained(folder)
    if name in ("grounding-dino", "blip"):
        tokenizer().save_pretrained(folder)
    if name == "florence2":
        tokenizer(
            model_input_names=["input_ids", "attention_mask"],
            bos_token="[CLS]",
            eos_token="[SEP]",
            extra_special_tokens={"image_token": "<image>"},
        ).save_pretrained(folder)
    return folder
