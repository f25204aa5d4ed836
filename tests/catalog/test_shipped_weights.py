"""The table of published weights in `docs/extend/model-files.md` is that of the declaration."""

from __future__ import annotations

import re

from inpainting import families
from inpainting.catalog.shipped import SHIPPED, SHIPPED_ADAPTERS
from inpainting.catalog.shipped_tools import SHIPPED_TOOLS
from inpainting.catalog.shipped_weights import UNTRIED, WEIGHTS_RUNS
from inpainting.catalog.specs import ADAPTER_LABELS
from inpainting.core.setting import DIFFUSION, ERASE
from inpainting.families.declaration import CAPTIONS, MODERATION, PREPROCESSING, SEGMENTATION, UPSCALING
from tests.support.installation import ROOT

DOCUMENT = (ROOT / "docs/extend/model-files.md").read_text()
HEADING = "| what | kind | state | date | test |\n|---|---|---|---|---|\n"
KIND_WORDS = {
    DIFFUSION: "diffusion model",
    ERASE: "model for erasing",
    MODERATION: "safety checker",
    SEGMENTATION: "segmenter",
    CAPTIONS: "captioner",
    PREPROCESSING: "preprocessor",
    UPSCALING: "upscaler",
}
EVERY_SHIPPED = (*SHIPPED, *SHIPPED_ADAPTERS, *SHIPPED_TOOLS)


def table() -> str:
    """Models of one family, kind and state share a row. Rows are in the order of the catalog."""
    slugs: dict[tuple[str, str, str], list[str]] = {}
    for spec in EVERY_SHIPPED:
        family = families.get(spec.family)
        run = WEIGHTS_RUNS.get(spec.slug)
        state = f"published weights run here | {run.day} | `{run.test}`" if run else "stand-in only | – | –"
        kind = ADAPTER_LABELS.get(spec.kind) or KIND_WORDS[family.engine]
        slugs.setdefault((family.label, kind, state), []).append(f"`{spec.slug}`")
    return HEADING + "".join(
        f"| {family}: {', '.join(names)} | {kind} | {state} |\n" for (family, kind, state), names in slugs.items()
    )


def test_the_document_has_the_table_of_the_declaration() -> None:
    found = re.search(re.escape(HEADING) + r"(?:\|.*\n)*", DOCUMENT)
    assert found is not None
    assert found[0] == table(), f"docs/extend/model-files.md needs this table:\n{table()}"


def test_a_shipped_model_is_untried_unless_its_weights_were_run() -> None:
    assert UNTRIED.isdisjoint(WEIGHTS_RUNS)
    assert all((ROOT / run.test).is_file() for run in WEIGHTS_RUNS.values())
    assert UNTRIED | WEIGHTS_RUNS.keys() == {spec.slug for spec in EVERY_SHIPPED}
