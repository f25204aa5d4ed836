"""Add a model or adapter to the catalog: a local file or folder, or a repository on the hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from inpainting.catalog import families
from inpainting.catalog.specs import Control, Kind, ModelSpec, Source
from inpainting.catalog.store.hub import check_repo
from inpainting.catalog.store.pull import PullLost, pull
from inpainting.catalog.store.sources import LocalSource
from inpainting.core.errors import PaintingError
from inpainting.core.setting import ERASE
from inpainting.models import InferenceModel


class Command(BaseCommand):
    help = (
        "Add a model: a folder in diffusers' layout, one .safetensors checkpoint, one .onnx network (families "
        f"{' and '.join(families.names(engine=ERASE))}), or an adapter for models of a family. Local files are copied "
        "and ready at once; pull_model downloads the files of a repository on the hub."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("slug", help="name in the API: a-z, 0-9, full stop, underscore, hyphen")
        parser.add_argument("--family", required=True, choices=families.names())
        parser.add_argument(
            "--kind",
            default=Kind.CHECKPOINT.value,
            choices=[kind.value for kind in Kind],
            help="a checkpoint paints by itself; the others are adapters for checkpoints of the family",
        )
        parser.add_argument(
            "--control", choices=[control.value for control in Control], help="kind of control image of a ControlNet"
        )
        parser.add_argument("--from", dest="origin", required=True, metavar="FOLDER_FILE_OR_HUB_REPO")
        parser.add_argument(
            "--config",
            default="",
            metavar="SLUG_OR_FOLDER",
            help="for a checkpoint file: installed model or folder in diffusers' layout with the same configuration",
        )
        parser.add_argument("--label", help="name on the pages; default: the slug")
        parser.add_argument("--licence", default="", help="shown with the model")
        parser.add_argument(
            "--variant", default="", help="preferred variant of the files, such as fp16, or the name of an .onnx file"
        )
        parser.add_argument("--alias", action="append", default=[], help="further name in the API; may be repeated")

    def handle(self, *args: Any, **options: Any) -> None:
        path = Path(options["origin"])
        is_local = path.exists() or options["origin"].startswith((".", "/", "~"))
        try:
            model = InferenceModel.from_spec(
                ModelSpec(
                    slug=options["slug"],
                    label=options["label"] or options["slug"],
                    family=options["family"],
                    kind=Kind(options["kind"]),
                    control=Control(options["control"]) if options["control"] else None,
                    source=Source.FOLDER if is_local else Source.HUB,
                    repo="" if is_local else options["origin"],
                    variant=options["variant"],
                    licence=options["licence"],
                    aliases=tuple(options["alias"]),
                    **families.get(options["family"]).defaults,
                )
            )
            if not is_local:
                check_repo(model.repo)
            model.full_clean()
            source = LocalSource(path.expanduser(), config=options["config"])
            manifest = source.manifest(model) if is_local else None
            model.save(force_insert=True)
            if manifest is not None and model.start_pull():
                try:
                    pull(model, source, manifest)
                except BaseException:
                    model.delete()  # it was not there before
                    raise
        except PaintingError as error:
            raise CommandError(error.message) from error
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
        except PullLost as error:
            raise CommandError("Another pull of this model has taken over.") from error
        if manifest is not None:
            if manifest.left:
                self.stdout.write(manifest.left_sentence)
            self.stdout.write(f"{model.slug} is installed in {model.folder}.")
        else:
            self.stdout.write(
                f"{model.slug} is in the catalog; “python manage.py pull_model {model.slug}” installs it."
            )
