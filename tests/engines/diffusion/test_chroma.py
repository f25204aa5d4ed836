"""Chroma: the contract of guided flow-matching families, and what it reads of a prompt."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

from inpainting.catalog.inspection.formats.safetensors_header import read_header
from inpainting.catalog.inspection.lora_files import detect_family
from inpainting.catalog.specs import ModelSpec
from inpainting.core.request import PaintSettings
from inpainting.engines.diffusion.serving.loading.model_loading import load
from inpainting.families.flux.network import MAX_TOKENS
from tests.contracts.family import assert_equal
from tests.contracts.flow_family import GuidedFlowContract
from tests.engines.diffusion import loras_of_layers
from tests.engines.diffusion.loras_of_layers import Layers
from tests.engines.diffusion.pipelines import CPU, denoised
from tests.support import tiny_loras

ORIGINAL: Layers = {
    "double_blocks.1.img_attn.qkv": tuple(f"transformer_blocks.1.attn.to_{name}" for name in "qkv"),
    "double_blocks.0.txt_mlp.0": ("transformer_blocks.0.ff_context.net.0.proj",),
    "single_blocks.0.linear1": (
        *(f"single_transformer_blocks.0.attn.to_{name}" for name in "qkv"),
        "single_transformer_blocks.0.proj_mlp",
    ),
    "single_blocks.1.linear2": ("single_transformer_blocks.1.proj_out",),
    "distilled_guidance_layer.in_proj": ("distilled_guidance_layer.in_proj",),
    "distilled_guidance_layer.layers.1.in_layer": ("distilled_guidance_layer.layers.1.linear_1",),
    "distilled_guidance_layer.layers.0.out_layer": ("distilled_guidance_layer.layers.0.linear_2",),
    "img_in": ("x_embedder",),
}
"""Layer in the names of the publisher's code -> the layers in diffusers that give its outputs."""


class ChromaWithMask(diffusers.ChromaInpaintPipeline):  # type: ignore[misc]  # diffusers ships no types
    """diffusers' pipeline with a mask that hides the padding, as `ChromaPipeline` was to be mended.

    There it is of floats, which attention adds (huggingface/diffusers#12116). It also asks its transformer for a value
    of FLUX.1's configuration.
    """

    def check_inputs(self, *given: Any, **named: Any) -> None:
        self.transformer.register_to_config(guidance_embeds=False)
        super().check_inputs(*given, **named)

    def _prepare_attention_mask(self, *given: Any, **named: Any) -> Any:
        mask = super()._prepare_attention_mask(*given, **named)
        return None if mask is None else mask.bool()


class TestChroma(GuidedFlowContract):
    family = "chroma"
    pipeline = ChromaWithMask
    unknown_layer = "transformer_blocks.7.attn.to_q"
    lora_namings = ("diffusers",)
    lora_layers = ("distilled_guidance_layer.layers.0.linear_1",)

    def arguments(self, model: Any, settings: PaintSettings) -> dict[str, Any]:
        return {
            **super().arguments(model, settings),
            "negative_prompt": settings.negative_prompt,
            "max_sequence_length": MAX_TOKENS,
        }

    def encoded_by_reference(self, model: Any, words: str) -> torch.Tensor:
        embeds, _, mask, *_ = model.pipeline.encode_prompt(
            words, do_classifier_free_guidance=False, max_sequence_length=MAX_TOKENS
        )
        return torch.as_tensor(embeds[0][mask[0] > 0])

    def test_the_words_after_the_last_token_are_quoted(self, model: Any) -> None:
        assert model.tokenize(PaintSettings(prompt="a " * 254 + "b")).notes == ()
        long = model.tokenize(PaintSettings(prompt="a " * 254 + "b unread"))
        assert len(long.ids[-1]) == MAX_TOKENS
        assert [note.endswith("(511 tokens); not read: “unread”.") for note in long.notes] == [True]
        (note,) = model.tokenize(PaintSettings(prompt="a (red:1.3) bus")).notes
        assert "reads no weights" in note

    @pytest.mark.parametrize("prefix", ["diffusion_model.", "lora_unet_", "lycoris_"])
    @pytest.mark.parametrize("kind", ["plain", "lokr"])
    def test_layers_in_the_names_of_the_original_are_changed_as_their_product_says(
        self, tmp_path: Path, model: Any, prefix: str, kind: str
    ) -> None:
        make = {"plain": loras_of_layers.plain, "lokr": loras_of_layers.lokr}[kind]
        tensors = make(model, ORIGINAL, prefix, is_kohya=prefix.endswith("_"))
        path = tiny_loras.saved(tmp_path / "one.safetensors", tensors)
        assert detect_family(read_header(path)) == "chroma"
        changed, notes = loras_of_layers.painted(model, path, self.family, self.request(), 0.7)
        assert notes == ()
        assert_equal(changed, loras_of_layers.merged(model, ORIGINAL, kind, self.request(), 0.7))
        assert not torch.allclose(changed, denoised(model, self.request()), atol=1e-2)

    def test_the_published_vocabulary_reads_prompts_where_the_folder_has_none(
        self, tmp_path: Path, spec: ModelSpec
    ) -> None:
        shutil.copytree(str(spec.path), tmp_path / "chroma")
        (tmp_path / "chroma/tokenizer/tokenizer.json").unlink()
        model: Any = load(replace(spec, path=tmp_path / "chroma"), CPU)
        (ids,) = model.tokenize(PaintSettings(prompt="a red bus", guidance_scale=1.0)).ids
        assert model.pipeline.tokenizer.convert_ids_to_tokens(ids) == ["▁", "a", "▁red", "▁bus", "</s>"]
