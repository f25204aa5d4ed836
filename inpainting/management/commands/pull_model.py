"""Get a model's files: the one command that reaches out, in a process of its own."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.template.defaultfilters import filesizeformat

from inpainting.catalog.inspection.model_files import ModelRefused
from inpainting.catalog.store.hub import HubSupply, go_online
from inpainting.catalog.store.pull import PullLost, pull
from inpainting.catalog.store.sources import LocalSupply, Offer, Supply
from inpainting.core.errors import PaintingError
from inpainting.models import InferenceModel


class Command(BaseCommand):
    help = (
        "Get the files of a model from its repository on the hub, or from a folder. Goes on where it was cut; checks "
        "every hash; the first time it pins revision and hashes, later it takes nothing else."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("slug", help="a model of the catalog; the page “Models” and /api/models/ list them")
        parser.add_argument(
            "--from", dest="path", type=Path, metavar="FOLDER_OR_FILE", help="copy from here; no network"
        )
        parser.add_argument(
            "--config", default="", metavar="SLUG_OR_FOLDER", help="for a checkpoint of one file: as in add_model"
        )
        parser.add_argument("--yes", action="store_true", help="do not ask before it begins")
        parser.add_argument("--repin", action="store_true", help="forget what was pinned; take what is there now")
        parser.add_argument("--claim", type=int, help=argparse.SUPPRESS)  # begun already, by the page

    def handle(self, *args: Any, **options: Any) -> None:
        model = InferenceModel.objects.filter(slug=options["slug"]).first()
        if model is None:
            slugs = ", ".join(InferenceModel.objects.values_list("slug", flat=True))
            raise CommandError(f"There is no model “{options['slug']}”; the models are: {slugs}.")
        claimed = options["claim"] is not None
        if claimed:
            model.fence = options["claim"]
        try:
            if options["repin"]:
                model.revision, model.files = "", {}  # in the row only when the new ones are
            supply = self.supply(model, options["path"], options["config"])
            offer = supply.offer(model)
            self.describe(model, offer)
            if not options["yes"] and not confirmed():
                raise CommandError("Nothing was downloaded. --yes begins without asking.")
            if not claimed and not model.start_pull():
                raise CommandError(f"{model.slug} is being pulled already.")
            pull(model, supply, offer)
        except PaintingError as error:
            if claimed:
                model.fail_pull(error.message)
            raise CommandError(error.message) from error
        except PullLost as error:
            raise CommandError("Another pull of this model has taken over.") from error
        self.stdout.write(f"{model.slug} is installed in {model.place}.")

    def supply(self, model: InferenceModel, path: Path | None, config: str) -> Supply:
        if path is not None:
            return LocalSupply(path, config=config)
        if not model.repo:
            raise ModelRefused(f"{model.slug} has no repository on the hub; --from names its folder or file.")
        go_online()
        return HubSupply()

    def describe(self, model: InferenceModel, offer: Offer) -> None:
        self.stdout.write(f"{model.label} ({model.slug})")
        self.stdout.write(f"  from     {model.repo if offer.source == 'hub' else 'this machine'}")
        if offer.revision:
            self.stdout.write(f"  revision {offer.revision}{'' if model.revision else ', pinned from now on'}")
        self.stdout.write(f"  licence  {model.licence or offer.licence or 'not known'} {model.licence_url}".rstrip())
        self.stdout.write(f"  size     {len(offer.files)} files, {filesizeformat(offer.size_bytes)}")
        self.stdout.flush()


def confirmed() -> bool:
    """Ask at a terminal; where nobody sits, the answer is no."""
    return sys.stdin.isatty() and input("Get it? [y/N] ").strip().lower() in ("y", "yes")
