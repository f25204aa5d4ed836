"""What is read of a folder in diffusers' layout: all that paints, nothing else, and no number that is not in it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from inpainting.engines.catalog import Family
from inpainting.engines.diffusion.weights import load
from tests import tiny_checker, tiny_models, tiny_parts
from tests.engines.diffusion.test_single_files import CPU


@pytest.mark.parametrize("family", [Family.SD, Family.SDXL])
def test_what_only_other_pipelines_use_takes_no_memory(tmp_path: Path, family: Family) -> None:
    spec = tiny_models.saved(tmp_path / "model", family)
    alone = load(spec, CPU)
    tiny_parts.encoder().save_pretrained(tmp_path / "model" / "image_encoder")
    tiny_checker.processor().save_pretrained(tmp_path / "model" / "feature_extractor")
    index = tmp_path / "model" / "model_index.json"
    more = {
        "image_encoder": ["transformers", "CLIPVisionModelWithProjection"],
        "feature_extractor": ["transformers", "CLIPImageProcessorPil"],
    }
    index.write_text(json.dumps({**json.loads(index.read_text()), **more}))
    model = load(spec, CPU)
    assert model.pipeline.image_encoder is model.pipeline.feature_extractor is None
    assert model.byte_count == alone.byte_count
