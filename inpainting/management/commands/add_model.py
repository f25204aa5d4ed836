"""Add a model to the catalog: one's own checkpoint or folder, or a repository of the hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from inpainting.catalog import families
from inpainting.catalog.families import ERASE
from inpainting.catalog.specs import Control, Kind, ModelSpec, Source
from inpainting.catalog.store.hub import check_repo
from inpainting.catalog.store.pull import PullLost, pull
from inpainting.catalog.store.sources import LocalSupply
from inpainting.core.errors import PaintingError
from inpainting.models import InferenceModel


class Command(BaseCommand):
    help = (
        "Add a model: a folder in diffusers' layout, one .safetensors checkpoint or, of the families "
        f"{' and '.join(families.names(engine=ERASE))}, "
        "one .onnx network, or a part for such a model, which is copied and ready at once, "
        "or a repository of the hub, whose files pull_model gets."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("slug", help="how callers name it: a-z, 0-9, full stop, underscore, hyphen")
        parser.add_argument("--family", required=True, choices=families.names())
        parser.add_argument(
            "--kind",
            default=Kind.CHECKPOINT.value,
            choices=[kind.value for kind in Kind],
            help="a checkpoint is painted with; all others are parts for checkpoints of the family",
        )
        parser.add_argument(
            "--control", choices=[control.value for control in Control], help="what a ControlNet looks at"
        )
        parser.add_argument("--from", dest="origin", required=True, metavar="FOLDER_FILE_OR_HUB_REPO")
        parser.add_argument(
            "--config",
            default="",
            metavar="SLUG_OR_FOLDER",
            help="for a checkpoint: an installed model, or a folder in diffusers' layout, that is configured as it is",
        )
        parser.add_argument("--label", help="how people call it; the slug unless given")
        parser.add_argument("--licence", default="", help="shown with the model")
        parser.add_argument(
            "--variant", default="", help="preferred flavour of the files, such as fp16, or the name of an .onnx file"
        )
        parser.add_argument("--alias", action="append", default=[], help="a further name for clients; may be repeated")

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
            supply = LocalSupply(path.expanduser(), config=options["config"])
            offer = supply.offer(model) if is_local else None
            model.save(force_insert=True)
            if offer is not None and model.start_pull():
                try:
                    pull(model, supply, offer)
                except BaseException:
                    model.delete()  # it was not there before
                    raise
        except PaintingError as error:
            raise CommandError(error.message) from error
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
        except PullLost as error:
            raise CommandError("Another pull of this model has taken over.") from error
        if is_local:
            self.stdout.write(f"{model.slug} is installed in {model.place}.")
        else:
            self.stdout.write(f"{model.slug} is in the catalog; “python manage.py pull_model {model.slug}” gets it.")
