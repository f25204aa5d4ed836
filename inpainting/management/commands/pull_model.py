"""Install the files of a model or adapter from the hub or from this machine."""

from __future__ import annotations

import argparse
import sys
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.template.defaultfilters import filesizeformat

from inpainting.catalog.inspection.files import ModelRefused
from inpainting.catalog.specs import REMOTE, Source
from inpainting.catalog.store.hub import HubSource, go_online
from inpainting.catalog.store.pull import PullLost, pull
from inpainting.catalog.store.release_file import RELEASE, url_source
from inpainting.catalog.store.sources import LocalSource, Manifest, ModelSource
from inpainting.core.errors import PaintingError
from inpainting.core.sentences import sentence
from inpainting.models import InferenceModel
from inpainting.net import RemoteFile, open_remote_file, site_policy

DOWNLOAD_SECONDS = 6 * 3600.0
"""The longest time for one connection."""


class Command(BaseCommand):
    help = (
        "Install the files of a model from its repository on the hub, its https address, or from a local folder. "
        "Resumes interrupted downloads and checks every hash. The first pull pins revision and hashes; later pulls "
        "must match them."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("slug", help="model of the catalog, as listed on the page “Models”")
        parser.add_argument(
            "--from", dest="path", type=Path, metavar="FOLDER_OR_FILE", help="local files to copy; no network"
        )
        parser.add_argument(
            "--config", default="", metavar="SLUG_OR_FOLDER", help="for a checkpoint file: as in add_model"
        )
        parser.add_argument(
            "--part", action="append", default=[], type=Path, metavar="FILE", help="with --from: as in add_model"
        )
        parser.add_argument("--yes", action="store_true", help="start without asking")
        parser.add_argument("--repin", action="store_true", help="replace the pinned revision and hashes by the newest")
        parser.add_argument("--claim", type=int, help=argparse.SUPPRESS)  # fence of a pull started by the page

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
                model.revision, model.files = "", {}  # stored only once the new files are pinned
            source = self.source(model, options["path"], options["config"], options["part"])
            manifest = source.manifest(model)
            self.describe(model, manifest)
            if not options["yes"] and not confirmed():
                raise CommandError("Nothing was downloaded. --yes starts without asking.")
            if not claimed and not model.start_pull():
                raise CommandError(f"{model.slug} is being pulled already.")
            pull(model, source, manifest)
        except PaintingError as error:
            if claimed:
                model.fail_pull(error.message)
            raise CommandError(error.message) from error
        except PullLost as error:
            raise CommandError("Another pull of this model has taken over.") from error
        self.stdout.write(f"{model.slug} is installed in {model.folder}.")

    def source(self, model: InferenceModel, path: Path | None, config: str, parts: list[Path]) -> ModelSource:
        if path is not None:
            return LocalSource(path, config=config, parts=parts)
        if not model.repo:
            raise ModelRefused(
                sentence("{model} has no repository on the hub; --from names its folder or file.", model=model.slug)
            )
        if model.repo.startswith(RELEASE):
            return url_source(model.repo, open_release)
        go_online()
        return HubSource()

    def describe(self, model: InferenceModel, manifest: Manifest) -> None:
        self.stdout.write(f"{model.label} ({model.slug})")
        self.stdout.write(f"  from     {model.repo if manifest.source in REMOTE else 'this machine'}")
        if manifest.revision:
            self.stdout.write(f"  revision {manifest.revision}{'' if model.revision else ', pinned from now on'}")
        self.stdout.write(f"  licence  {model.licence or manifest.licence or 'not known'} {model.licence_url}".rstrip())
        if manifest.source == Source.URL:
            self.stdout.write(
                f"  hash     {manifest.files[0].published_hash or 'none published; the first pull pins its own'}"
            )
        self.stdout.write(f"  size     {len(manifest.files)} files, {filesizeformat(manifest.size_bytes)}")
        if manifest.left:
            self.stdout.write(manifest.left_sentence)
        self.stdout.flush()


def open_release(url: str, first_byte: int) -> AbstractContextManager[RemoteFile]:
    policy = replace(site_policy(), total_seconds=DOWNLOAD_SECONDS)
    return open_remote_file(url, first_byte=first_byte, policy=policy)


def confirmed() -> bool:
    """Ask at a terminal; without one the answer is no."""
    return sys.stdin.isatty() and input("Download? [y/N] ").strip().lower() in ("y", "yes")
