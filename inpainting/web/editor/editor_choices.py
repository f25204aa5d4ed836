"""The choices of the editor's form: engines, models, adapters, settings with their limits."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.utils.translation import gettext_lazy, pgettext

from inpainting import families
from inpainting.captioning import NO_MODEL, find_captioner
from inpainting.catalog.lookup import Catalog
from inpainting.catalog.rows.inference_model import InferenceModel
from inpainting.catalog.specs import COMPUTED_CONTROLS, ControlImageKind, Kind
from inpainting.core.adapter_uses import LORA_WEIGHTS
from inpainting.core.codecs.accepted import ACCEPT_ATTRIBUTE
from inpainting.core.errors import InvalidRequest
from inpainting.core.masks import MAX_MASK_BYTES
from inpainting.core.moderation.policy import DEFAULT_TYPE, OFF, STRICTNESS
from inpainting.core.request import PaintSettings
from inpainting.core.settings_table import SAFETY_TYPES
from inpainting.engines import registry
from inpainting.engines.base import EngineDeclaration
from inpainting.engines.diffusion.declaration import DIFFUSION
from inpainting.generations.settings_plan import describe_plan
from inpainting.image_limits import image_limits
from inpainting.moderation import find_safety_checker
from inpainting.segmenters import registry as segmenters
from inpainting.segmenters.base import Hint
from inpainting.translation import translated
from inpainting.web.editor.setting_inputs import form_constants, html_number, setting_inputs

FORMATS = gettext_lazy("PNG, JPEG, WebP, GIF, TIFF, BMP, AVIF or HEIC")
"""In words, `accepted.ACCEPTED`."""
HIDDEN_SENTENCE = gettext_lazy(
    "Hidden by the safety checker: it found something in what was painted that may not be for everybody. "
    "The rest of the photo is as it was."
)
SAFETY_LABELS = {
    "blur": gettext_lazy("Blur what it finds"),
    "pixelate": gettext_lazy("Pixelate what it finds"),
    "black": gettext_lazy("Black instead"),
    "sensitive_content_text": gettext_lazy("Grey with a sentence instead"),
}


def page_limits() -> dict[str, Any]:
    """Return the context of pages that take photos: what a photo and a mask may have."""
    limits = image_limits()
    return {
        "max_image_bytes": limits.max_bytes,
        "max_side": limits.max_side,
        "max_pixels": limits.max_pixels,
        "max_megapixels": limits.max_pixels / 1e6,
        "max_mask_bytes": MAX_MASK_BYTES,
        "accepted_files": ACCEPT_ATTRIBUTE,
        "accepted_formats": FORMATS,
    }


def choices() -> dict[str, Any]:
    """Return the context of the editor's form: engines and their models, LoRAs, adapters, inputs, plan of an empty
    form."""
    catalog = Catalog()
    engines = [engine_choice(engine.declaration, catalog) for engine in registry.engines().values()]
    has_model = any(engine["models"] for engine in engines if engine["name"] == DIFFUSION.name)
    computed = sorted(kind for kind in ControlImageKind if catalog.find_preprocessor(kind)) if has_model else []
    adapters = [adapter_choice(row, computed) for row in catalog.adapters] if has_model else []
    return {
        "engines": engines,
        "has_diffusion_model": has_model,
        "diffusion_installed": DIFFUSION.is_installed,
        "adapters": adapters,
        "embeddings": [adapter for adapter in adapters if adapter["kind"] == Kind.EMBEDDING],
        "loras": catalog.loras if has_model else [],
        "lora_weights": {"lowest": html_number(LORA_WEIGHTS[0]), "highest": html_number(LORA_WEIGHTS[1])},
        "inputs": setting_inputs(),
        "constants": form_constants(),
        "safety": safety_choices(),
        "hidden_sentence": HIDDEN_SENTENCE,
        "plan": describe_plan(PaintSettings(), catalog),
        "words_segmenter": words_segmenter(),
        "objects_are_rough": not any(
            segmenter.name not in segmenters.segmenters() for segmenter in segmenters.usable()
        ),
        "captioner_label": "" if (captioner := find_captioner(catalog)) is None else captioner.spec.label,
        "no_captioner": NO_MODEL,
    }


def editing_models() -> list[str]:
    """Return the slugs of the installed models that edit by words, which need no mask; "" stands for the default one,
    where it is one of them."""
    if not DIFFUSION.is_installed:
        return []
    catalog = Catalog()
    slugs = [row.slug for row in catalog.installed(DIFFUSION.name) if families.get(row.family).edits]
    return ["", *slugs] if describe_plan(PaintSettings(), catalog)["form"]["edits"] else slugs


def words_segmenter() -> str:
    """Return the name of a segmenter that can be used and finds objects by words; empty where there is none."""
    return next((segmenter.name for segmenter in segmenters.usable() if Hint.WORDS in segmenter.reads), "")


def engine_choice(engine: EngineDeclaration, catalog: Catalog) -> dict[str, Any]:
    """Return the context of an engine.

    `models` are the installed ones, the default first; none where the engine's library is missing. `shown_from` is how
    many models make the choice of one visible. `missing` is set where the engine needs a model and has none.
    `reads_prompt` is not set for engines that erase.
    """
    rows = catalog.installed(engine.name) if engine.is_installed else []
    is_diffusion = engine.name == DIFFUSION.name
    return {
        "name": engine.name,
        "label": translated(engine.label),
        "missing": bool(engine.library) and not rows,
        "reads_prompt": "prompt" not in engine.ignored_settings,
        "models": [{"slug": row.slug, "label": row.label} for row in rows],
        "model_label": translated(engine.model_label),
        "shown_from": 1 if is_diffusion else 2,
    }


def safety_choices() -> dict[str, Any] | None:
    """Return the choices for the safety checker, the site's own first; None where no checker is installed.

    turned_on: the type that applies to a request which turned the checker on without a type; "" is the site's own.
    """
    try:
        find_safety_checker()
    except InvalidRequest:
        return None
    site = settings.SAFETY_CHECKER
    min_strictness = STRICTNESS.get(site, 0)
    stricter = [name for name in SAFETY_TYPES if name != site and STRICTNESS[name] >= min_strictness]
    return {
        "default": SAFETY_LABELS.get(site, pgettext("safety checker", "Off")),
        "turned_on": DEFAULT_TYPE if site == OFF else "",
        "types": [{"name": name, "label": SAFETY_LABELS[name]} for name in stricter],
    }


def adapter_choice(row: InferenceModel, computed: list[ControlImageKind]) -> dict[str, Any]:
    """Return a VAE, an embedding, a ControlNet or an IP-Adapter, for the page.

    computed: control images that need no file.
    """
    return {
        "slug": row.slug,
        "label": row.label,
        "kind": row.kind,
        "control": row.control,
        "is_computed": row.control in COMPUTED_CONTROLS,
        "computed": computed if row.kind == Kind.CONTROLNET else [],
    }
