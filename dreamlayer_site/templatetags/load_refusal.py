"""`{{ model|load_refusal }}`: why the files of a model or LoRA are not loaded any more; empty where they are."""

from __future__ import annotations

from django import template

from inpainting.models import InferenceModel, Lora
from inpainting.networks.interrupted_loads import is_refused, refusal
from inpainting.translation import translated

register = template.Library()


@register.filter
def load_refusal(model: InferenceModel | Lora) -> str:
    path = model.weights if isinstance(model, InferenceModel) else model.path
    return translated(refusal(model.label)) if is_refused(model.slug, path) else ""
