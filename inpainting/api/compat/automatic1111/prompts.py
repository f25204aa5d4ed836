"""What the prompts of AUTOMATIC1111 name: LoRAs, as `<lora:NAME:0.8>`, and embeddings, by a word."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inpainting.catalog.lookup import Catalog, spellings
from inpainting.catalog.specs import Kind
from inpainting.core.adapter_uses import LORA_WEIGHTS
from inpainting.core.prompt_loras import named_networks, weight_of, without_networks
from inpainting.core.request import LoraUse
from inpainting.core.settings_table import MAX_EMBEDDINGS, MAX_LORAS


@dataclass(frozen=True, slots=True)
class Prompts:
    """The prompts without the LoRAs that they name, with embeddings as the engine reads them."""

    prompt: str
    negative_prompt: str
    uses: Mapping[str, tuple[Any, ...]]
    """`lora`: the LoRAs; `embedding`: the slugs of the embeddings."""
    warnings: Sequence[str]
    """About LoRAs that were named and are not used as that says."""


def read_prompts(prompt: str, negative_prompt: str, catalog: Catalog) -> Prompts:
    """Read both prompts. Raises InvalidRequest for a weight that is no number."""
    loras: dict[str, float] = {}
    warnings: list[str] = []
    for kind, name, numbers in named_networks(prompt):
        slug = next((row.slug for row in catalog.loras if row.slug in spellings(name)), None)
        if kind == "hypernet" or slug is None or len(loras) == MAX_LORAS:
            warnings.append(f"prompt: {name} is {'one too many' if slug else 'not installed'}.")
            continue
        sent = weight_of(name, numbers)
        loras[slug] = min(max(sent, LORA_WEIGHTS[0]), LORA_WEIGHTS[1])
        if loras[slug] != sent:
            warnings.append(f"prompt: the weight of {name} is {sent:g}; {loras[slug]:g} was used.")
    texts = [without_networks(prompt), negative_prompt]
    embeddings: list[str] = []
    for row in catalog.adapters if any(texts) else ():
        word = re.compile(rf"(?<![\w<-]){re.escape(row.slug)}(?![\w>-])", re.IGNORECASE)
        if row.kind == Kind.EMBEDDING and len(embeddings) < MAX_EMBEDDINGS and any(map(word.search, texts)):
            embeddings.append(row.slug)
            texts = [word.sub(f"<{row.slug}>", text) for text in texts]
    uses = {"lora": tuple(LoraUse(*entry) for entry in loras.items()), "embedding": tuple(embeddings)}
    return Prompts(texts[0], texts[1], uses, warnings)
