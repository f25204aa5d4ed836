"""Complete diffusion pipelines of a few MB with random weights, made of diffusers' classes without downloads."""

from __future__ import annotations

import inspect
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLFlux2,
    AutoencoderKLQwenImage,
    ChromaInpaintPipeline,
    ChromaTransformer2DModel,
    FlowMatchEulerDiscreteScheduler,
    Flux2KleinInpaintPipeline,
    Flux2Transformer2DModel,
    FluxFillPipeline,
    FluxInpaintPipeline,
    FluxKontextInpaintPipeline,
    FluxTransformer2DModel,
    PNDMScheduler,
    QwenImageEditPlusPipeline,
    QwenImageInpaintPipeline,
    QwenImageTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3InpaintPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLInpaintPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
    ZImageInpaintPipeline,
    ZImageTransformer2DModel,
)
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Tokenizer,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3Model,
    T5Config,
    T5EncoderModel,
    T5TokenizerFast,
)

from inpainting import families
from inpainting.catalog.specs import ModelSpec
from inpainting.core.geometry import Size
from inpainting.core.image import CanonicalImage
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.engines.diffusion.conditioning.text_conditioning import TextConditioning
from inpainting.engines.diffusion.latent_model import LatentModel
from tests.support import scratch

FEATURES = 32


def tokenizer(folder: Path) -> CLIPTokenizer:
    """A CLIP tokenizer of single bytes, without merges."""
    letters = [chr(code) for code in range(33, 127)] + [chr(code) for code in range(161, 256)]
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer(
        str(folder / "vocab.json"),
        str(folder / "merges.txt"),
        model_max_length=77,
        pad_token="<|endoftext|>",
    )


def t5_encoder(pieces: T5TokenizerFast, width: int = FEATURES) -> T5EncoderModel:
    reader = T5Config(
        vocab_size=len(pieces),
        d_model=width,
        d_kv=8,
        d_ff=37,
        num_layers=2,
        num_heads=4,
        feed_forward_proj="gated-gelu",
    )
    return T5EncoderModel(reader).eval()


def t5_tokenizer() -> T5TokenizerFast:
    """A T5 tokenizer of single letters; `▁` precedes each word."""
    letters = [("▁", -2.0), *((chr(code), -3.0) for code in range(33, 127))]
    words = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -9.0), *letters]
    return T5TokenizerFast(vocab=words, extra_ids=0, model_max_length=512)


VISION_TOKENS = {"vision_start": "<|vision_start|>", "image": "<|image_pad|>", "vision_end": "<|vision_end|>"}


def qwen_tokenizer() -> Qwen2Tokenizer:
    """A Qwen tokenizer of single bytes, with the special tokens and the template of a conversation.

    As the published template of Qwen3, it ends with an empty thought where `enable_thinking` is false.
    """
    letters = [*(chr(code) for code in range(33, 127)), "Ġ", "Ċ"]  # a space and a line break come last
    made = Qwen2Tokenizer(vocab={letter: number for number, letter in enumerate(letters)}, merges=[])
    made.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    made.chat_template = (
        "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n"
        "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
    )
    return made


def vae(**more: Any) -> AutoencoderKL:
    numbers = {"latent_channels": 4, "scaling_factor": 0.18215, **more}
    return AutoencoderKL(
        block_out_channels=(8, 8, 16, 16),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        norm_num_groups=4,
        sample_size=64,
        force_upcast=False,
        **numbers,
    )


def video_vae() -> AutoencoderKLQwenImage:
    """A VAE for videos, with the published statistics of its latents, and its blocks, in which some widths differ."""
    return AutoencoderKLQwenImage(base_dim=4, z_dim=16, dim_mult=[1, 2, 4, 4], num_res_blocks=2)


def unet(channels: int, **more: Any) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        block_out_channels=(16, 32),
        layers_per_block=1,
        sample_size=8,
        in_channels=channels,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        norm_num_groups=8,
        **more,
    )


def text_config(vocabulary: int, **more: Any) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=FEATURES,
        intermediate_size=37,
        num_attention_heads=4,
        num_hidden_layers=3,
        max_position_embeddings=77,
        bos_token_id=vocabulary - 2,
        eos_token_id=vocabulary - 1,
        pad_token_id=vocabulary - 1,
        **more,
    )


def scheduler(**more: Any) -> PNDMScheduler:
    """A scheduler with the betas of Stable Diffusion 1.5."""
    return PNDMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        skip_prk_steps=True,
        steps_offset=1,
        set_alpha_to_one=False,
        **more,
    )


def sd(scratch: Path, *, inpainting: bool = True, seed: int = 0, **scheduler_changes: Any) -> Any:
    """A pipeline of the family `sd`, its UNet with 9 channels or with 4."""
    torch.manual_seed(seed)
    words = tokenizer(scratch / "words")
    kind = StableDiffusionInpaintPipeline if inpainting else StableDiffusionPipeline
    return kind(
        vae=vae().eval(),
        text_encoder=CLIPTextModel(text_config(len(words))).eval(),
        tokenizer=words,
        unet=unet(9 if inpainting else 4, cross_attention_dim=FEATURES, attention_head_dim=4).eval(),
        scheduler=scheduler(**scheduler_changes),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def sdxl(scratch: Path, *, inpainting: bool = True, seed: int = 0) -> Any:
    """A pipeline of the family `sdxl`."""
    torch.manual_seed(seed)
    words = tokenizer(scratch / "words")
    kind = StableDiffusionXLInpaintPipeline if inpainting else StableDiffusionXLPipeline
    network = unet(
        9 if inpainting else 4,
        cross_attention_dim=2 * FEATURES,
        attention_head_dim=(2, 4),
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        transformer_layers_per_block=(1, 2),
        projection_class_embeddings_input_dim=6 * 8 + FEATURES,
    )
    return kind(
        vae=vae().eval(),
        text_encoder=CLIPTextModel(text_config(len(words), hidden_act="gelu", projection_dim=FEATURES)).eval(),
        text_encoder_2=CLIPTextModelWithProjection(
            text_config(len(words), hidden_act="gelu", projection_dim=FEATURES)
        ).eval(),
        tokenizer=words,
        tokenizer_2=words,
        unet=network.eval(),
        scheduler=scheduler(),
        add_watermarker=False,
    )


def flux_fill(
    scratch: Path,
    *,
    inpainting: bool = True,
    seed: int = 0,
    guidance: bool = True,
    channels: int = 2 * 4 * 16 + 4 * 64,
    kind: type[Any] = FluxFillPipeline,
) -> Any:
    """A pipeline of the family `flux-fill`, with 16 latent channels and the published numbers of VAE and scheduler.

    inpainting: ignored, as every model of the family inpaints. guidance: whether the transformer embeds guidance.
    channels: of its tokens. kind: the pipeline's class.
    """
    torch.manual_seed(seed)
    words, pieces = tokenizer(scratch / "words"), t5_tokenizer()
    heads, width = 2, 16
    network = FluxTransformer2DModel(
        in_channels=channels,
        out_channels=4 * 16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=width,
        num_attention_heads=heads,
        joint_attention_dim=FEATURES,
        pooled_projection_dim=FEATURES,
        guidance_embeds=guidance,
        axes_dims_rope=(4, 6, 6),
    )
    return kind(
        vae=vae(latent_channels=16, scaling_factor=0.3611, shift_factor=0.1159).eval(),
        text_encoder=CLIPTextModel(text_config(len(words))).eval(),
        text_encoder_2=t5_encoder(pieces),
        tokenizer=words,
        tokenizer_2=pieces,
        transformer=network.eval(),
        scheduler=FlowMatchEulerDiscreteScheduler(
            shift=3.0,
            use_dynamic_shifting=True,
            base_shift=0.5,
            max_shift=1.15,
            base_image_seq_len=256,
            max_image_seq_len=4096,
        ),
    )


def flux_dev(scratch: Path, *, inpainting: bool = True, seed: int = 0, guidance: bool = True) -> Any:
    """A pipeline of the family `flux-dev`: as `flux_kontext`.

    inpainting: ignored, as no model of the family was trained for masks.
    """
    return flux_fill(scratch, seed=seed, guidance=guidance, channels=4 * 16, kind=FluxInpaintPipeline)


def flux_kontext(scratch: Path, *, inpainting: bool = True, seed: int = 0, guidance: bool = True) -> Any:
    """A pipeline of the family `flux-kontext`: as `flux_fill`, but its transformer takes tokens of latents alone.

    inpainting: ignored, as no model of the family was trained for masks.
    """
    return flux_fill(scratch, seed=seed, guidance=guidance, channels=4 * 16, kind=FluxKontextInpaintPipeline)


def chroma(scratch: Path, *, inpainting: bool = True, seed: int = 0) -> Any:
    """A pipeline of the family `chroma`, with 16 latent channels and the published numbers of VAE and scheduler.

    inpainting: ignored, as no model of the family was trained for masks.
    """
    torch.manual_seed(seed)
    pieces = t5_tokenizer()
    network = ChromaTransformer2DModel(
        in_channels=4 * 16,
        out_channels=4 * 16,
        num_layers=2,
        num_single_layers=2,
        attention_head_dim=32,
        num_attention_heads=1,
        joint_attention_dim=FEATURES,
        axes_dims_rope=(4, 14, 14),
        approximator_num_channels=8,
        approximator_hidden_dim=16,
        approximator_layers=2,
    )
    return ChromaInpaintPipeline(
        vae=vae(latent_channels=16, scaling_factor=0.3611, shift_factor=0.1159).eval(),
        text_encoder=t5_encoder(pieces),
        tokenizer=pieces,
        transformer=network.eval(),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True, max_shift=1.15),
    )


def sd3(scratch: Path, *, inpainting: bool = True, seed: int = 0) -> Any:
    """A pipeline of the family `sd3`, with the published numbers of VAE and scheduler.

    inpainting: ignored, as no published model of the family was trained for it.
    """
    torch.manual_seed(seed)
    words, pieces = tokenizer(scratch / "words"), t5_tokenizer()
    network = SD3Transformer2DModel(
        sample_size=32,
        num_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=2 * FEATURES,
        caption_projection_dim=32,
        pooled_projection_dim=FEATURES + 16,
        pos_embed_max_size=32,
        dual_attention_layers=(0,),
        qk_norm="rms_norm",
    )
    big = text_config(len(words), hidden_act="gelu", projection_dim=16)
    big.hidden_size = 16
    return StableDiffusion3InpaintPipeline(
        vae=vae(
            latent_channels=16,
            scaling_factor=1.5305,
            shift_factor=0.0609,
            use_quant_conv=False,
            use_post_quant_conv=False,
        ).eval(),
        text_encoder=CLIPTextModelWithProjection(text_config(len(words), projection_dim=FEATURES)).eval(),
        text_encoder_2=CLIPTextModelWithProjection(big).eval(),
        text_encoder_3=t5_encoder(pieces, width=2 * FEATURES),
        tokenizer=words,
        tokenizer_2=words,
        tokenizer_3=pieces,
        transformer=network.eval(),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
    )


def z_image(scratch: Path, *, inpainting: bool = True, seed: int = 0) -> Any:
    """A pipeline of the family `z-image`, with the published numbers of VAE and scheduler.

    inpainting: ignored, as no model of the family was trained for it.
    """
    torch.manual_seed(seed)
    words = qwen_tokenizer()
    network = ZImageTransformer2DModel(
        dim=32,
        n_layers=2,
        n_refiner_layers=1,
        n_heads=2,
        n_kv_heads=2,
        cap_feat_dim=FEATURES,
        axes_dims=(4, 6, 6),
        axes_lens=(1024, 64, 64),
    )
    reader = Qwen3Config(
        vocab_size=len(words),
        hidden_size=FEATURES,
        intermediate_size=37,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
    )
    return ZImageInpaintPipeline(
        vae=vae(latent_channels=16, scaling_factor=0.3611, shift_factor=0.1159).eval(),
        text_encoder=Qwen3Model(reader).eval(),
        tokenizer=words,
        transformer=network.eval(),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
    )


def qwen_image(scratch: Path, *, inpainting: bool = True, seed: int = 0) -> Any:
    """A pipeline of the family `qwen-image`, with the published numbers of VAE and scheduler.

    inpainting: ignored, as no model of the family was trained for it.
    """
    torch.manual_seed(seed)
    return QwenImageInpaintPipeline(**qwen_components(qwen_tokenizer()))


def qwen_image_edit(scratch: Path, *, inpainting: bool = True, seed: int = 0, **of_transformer: Any) -> Any:
    """A pipeline of the family `qwen-image-edit` without its processor. inpainting: ignored."""
    torch.manual_seed(seed)
    words = qwen_tokenizer()
    words.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>", *VISION_TOKENS.values()]})
    return QwenImageEditPlusPipeline(**qwen_components(words, **of_transformer), processor=None)


def write_processor(folder: Path, words: Any) -> None:
    """Write the processor of a saved `qwen-image-edit` as it is published. It cannot be built without torchvision."""
    words.save_pretrained(folder / "processor")
    numbers = {"min_pixels": 3136, "max_pixels": 12845056, "patch_size": 14, "temporal_patch_size": 2, "merge_size": 2}
    names = {"image_processor_type": "Qwen2VLImageProcessorFast", "processor_class": "Qwen2VLProcessor"}
    (folder / "processor" / "preprocessor_config.json").write_text(json.dumps(numbers | names))
    index = json.loads((folder / "model_index.json").read_text())
    index["processor"] = ["transformers", "Qwen2VLProcessor"]
    (folder / "model_index.json").write_text(json.dumps(index))


def qwen_components(words: Any, **of_transformer: Any) -> dict[str, Any]:
    """The components of the families of Qwen-Image. words: the tokenizer."""
    known = words.get_vocab()
    vision_ids = {f"{name}_token_id": known[token] for name, token in VISION_TOKENS.items() if token in known}
    network = QwenImageTransformer2DModel(
        in_channels=4 * 16,
        out_channels=16,
        num_layers=2,
        attention_head_dim=32,
        num_attention_heads=2,
        joint_attention_dim=FEATURES,
        axes_dims_rope=(4, 14, 14),
        **of_transformer,
    )
    reader = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(words),
            "hidden_size": FEATURES,
            "intermediate_size": 37,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10000.0},
        },
        vision_config={
            "depth": 1,
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_heads": 2,
            "out_hidden_size": FEATURES,
        },
        **vision_ids,
    )
    return {
        "vae": video_vae().eval(),
        "text_encoder": Qwen2_5_VLForConditionalGeneration(reader).eval(),
        "tokenizer": words,
        "transformer": network.eval(),
        "scheduler": FlowMatchEulerDiscreteScheduler(
            use_dynamic_shifting=True, max_shift=0.9, max_image_seq_len=8192, shift_terminal=0.02
        ),
    }


def flux2_klein(scratch: Path, *, inpainting: bool = True, seed: int = 0, is_distilled: bool = False) -> Any:
    """A pipeline of the family `flux2-klein`, with the published numbers of its scheduler.

    inpainting: ignored, as no model of the family was trained for it. is_distilled: whether it takes no guidance.
    """
    torch.manual_seed(seed)
    words = qwen_tokenizer()
    network = Flux2Transformer2DModel(
        in_channels=4 * 8,
        num_layers=2,
        num_single_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=3 * FEATURES,
        timestep_guidance_channels=32,
        axes_dims_rope=(4, 4, 4, 4),
        guidance_embeds=False,
    )
    reader = Qwen3Config(
        vocab_size=len(words),
        hidden_size=FEATURES,
        intermediate_size=37,
        num_hidden_layers=28,  # features come from up to the 27th
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        tie_word_embeddings=True,
    )
    coder = AutoencoderKLFlux2(
        block_out_channels=(8, 8, 16, 16),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        norm_num_groups=4,
        latent_channels=8,
        sample_size=64,
    )
    coder.bn.running_mean.normal_()
    coder.bn.running_var.uniform_(0.5, 4)
    return Flux2KleinInpaintPipeline(
        vae=coder.eval(),
        text_encoder=Qwen3ForCausalLM(reader).eval(),
        tokenizer=words,
        transformer=network.eval(),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
        is_distilled=is_distilled,
    )


BUILDERS = {
    "sd": sd,
    "sdxl": sdxl,
    "chroma": chroma,
    "flux-dev": flux_dev,
    "flux-fill": flux_fill,
    "flux-kontext": flux_kontext,
    "flux2-klein": flux2_klein,
    "qwen-image": qwen_image,
    "sd3": sd3,
    "qwen-image-edit": qwen_image_edit,
    "z-image": z_image,
}


def saved(folder: Path, family: str = "sd", *, inpainting: bool = True, seed: int = 0, **more: Any) -> ModelSpec:
    """A tiny model in diffusers' layout in `folder`, and its specification. Each model is built once a test run, then
    copied. more: fields of the specification."""

    def build(built: Path) -> None:
        with TemporaryDirectory() as scratch_folder:
            pipeline = BUILDERS[family](Path(scratch_folder), inpainting=inpainting, seed=seed)
            pipeline.save_pretrained(built, safe_serialization=True)
            if family == "qwen-image-edit":
                write_processor(built, pipeline.tokenizer)

    built = scratch.built_once(f"{family}-{'inpainting' if inpainting else 'plain'}-{seed}", build)
    shutil.copytree(built, folder, copy_function=replaced_by_copy, dirs_exist_ok=True)
    torch.manual_seed(seed)  # the same state whether the model was built or copied
    usual = {**families.get(family).defaults, "width": 64, "height": 64, **more}
    return ModelSpec(slug=folder.name, label=f"Tiny {folder.name}", family=family, path=folder, **usual)


def encoded(model: LatentModel, settings: PaintSettings, size: Size, vectors: Sequence[Any] = ()) -> TextConditioning:
    """The encoded prompt of a request with a black image."""
    pixels = np.zeros((size.height, size.width, 3), np.uint8)
    return encoded_request(model, InpaintRequest(CanonicalImage(pixels), pixels[..., 0], settings), vectors)


def encoded_request(model: LatentModel, requested: InpaintRequest, vectors: Sequence[Any] = ()) -> TextConditioning:
    """The encoded prompt of a request."""
    return model.encode_request(model.tokenize(requested.settings, vectors), requested)


def replaced_by_copy(source: str, target: str) -> None:
    """Replace a file by a copy with a new inode and time, as saving does; the old one may still be memory-mapped."""
    Path(target).unlink(missing_ok=True)
    shutil.copyfile(source, target)


def switches(pipeline: Any) -> dict[str, Any]:
    """Arguments of a pipeline's class that are not components."""
    chosen = {
        "requires_safety_checker": False,
        "add_watermarker": False,
        "force_zeros_for_empty_prompt": pipeline.config.get("force_zeros_for_empty_prompt"),
        "is_distilled": pipeline.config.get("is_distilled"),
    }
    names = inspect.signature(type(pipeline).__init__).parameters
    return {name: value for name, value in chosen.items() if name in names}
