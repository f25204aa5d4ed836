"""Add models and adapters to the catalog: a file, a folder, a repository on the hub, or all that a folder holds."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from inpainting import families
from inpainting.catalog import configurations
from inpainting.catalog.inspection.files import shell
from inpainting.catalog.inspection.formats.component_file import component_labels
from inpainting.catalog.inspection.scanning import scan
from inpainting.catalog.specs import ControlImageKind, Kind, LoraKind, ModelSpec, Source
from inpainting.catalog.store.additions import add, add_found, name_found
from inpainting.catalog.store.hub import check_repo
from inpainting.catalog.store.inpaint_patches import patched_models
from inpainting.catalog.store.pull import PullLost
from inpainting.catalog.store.release_file import RELEASE, release
from inpainting.catalog.store.sources import LocalSource
from inpainting.core.errors import PaintingError
from inpainting.core.setting import ERASE
from inpainting.families.declaration import UPSCALING
from inpainting.models import InferenceModel


class Command(BaseCommand):
    help = (
        "Add a model: a folder in diffusers' layout, one .safetensors checkpoint, one .onnx network (families "
        f"{' and '.join(families.names(engine=ERASE))}), an upscaler (families "
        f"{', '.join(families.names(engine=UPSCALING))}), whose weights may be a .pth file, or an adapter for models "
        "of a family. Local files are copied and ready at once; pull_model downloads the files of a repository on the "
        "hub. With --scan: list the models, adapters, upscalers and LoRAs in the models folder of another program, and "
        "add them with --add."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("slug", nargs="?", help="name in the API: a-z, 0-9, full stop, underscore, hyphen")
        parser.add_argument("--family", choices=families.names())
        parser.add_argument(
            "--kind",
            default=Kind.CHECKPOINT.value,
            choices=[kind.value for kind in Kind],
            help="a checkpoint paints by itself; the others are adapters for checkpoints of the family",
        )
        parser.add_argument(
            "--control",
            choices=[control.value for control in ControlImageKind],
            help="kind of control image of a ControlNet",
        )
        parser.add_argument("--from", dest="origin", metavar="FOLDER_FILE_URL_OR_HUB_REPO")
        parser.add_argument(
            "--config",
            default="",
            metavar="NAME",
            help="for a checkpoint file: installed model or folder in diffusers' layout with the same configuration, "
            f"or one of {', '.join(configurations.NAMES)}; for a {component_labels()} in one file: installed "
            "model or folder with its text encoders, tokenizers and VAE",
        )
        parser.add_argument(
            "--part",
            action="append",
            default=[],
            type=Path,
            metavar="FILE",
            help=f"for a {component_labels()} in one file: file of a text encoder or of the VAE, as ComfyUI has them; "
            "may be repeated. For an IP-Adapter in one file: that of its image encoder. For a plain model of "
            f"{patched_models()}: the two files of Fooocus' inpaint patch",
        )
        parser.add_argument("--label", help="name on the pages; default: the slug")
        parser.add_argument("--licence", default="", help="shown with the model")
        parser.add_argument(
            "--variant", default="", help="preferred variant of the files, such as fp16, or the name of an .onnx file"
        )
        parser.add_argument("--alias", action="append", default=[], help="further name in the API; may be repeated")
        parser.add_argument("--scan", type=Path, metavar="FOLDER", help="list what the folder and its subfolders hold")
        parser.add_argument("--add", action="store_true", help="with --scan: add it, by hard links where the disk can")
        parser.add_argument(
            "--copy", action="store_true", help="with --add: copy the files, so that they may be removed"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["scan"] is not None:
            if options["slug"] or options["origin"] or options["family"]:
                raise CommandError("--scan finds out names and families itself; leave out slug, --from and --family.")
            self.scan(options["scan"].expanduser(), adds=options["add"], is_linked=not options["copy"])
            return
        if options["add"] or options["copy"]:
            raise CommandError("--add and --copy go with --scan.")
        if not (options["slug"] and options["origin"] and options["family"]):
            raise CommandError("A slug, --family and --from are needed, or --scan FOLDER.")
        self.add(options)

    def add(self, options: dict[str, Any]) -> None:
        path = Path(options["origin"])
        is_local = path.exists() or options["origin"].startswith((".", "/", "~"))
        remote = Source.URL if options["origin"].startswith(RELEASE) else Source.HUB
        try:
            model = InferenceModel.from_spec(
                ModelSpec(
                    slug=options["slug"],
                    label=options["label"] or options["slug"],
                    family=options["family"],
                    kind=Kind(options["kind"]),
                    control=ControlImageKind(options["control"]) if options["control"] else None,
                    source=Source.FOLDER if is_local else remote,
                    repo="" if is_local else options["origin"],
                    variant=options["variant"],
                    licence=options["licence"],
                    aliases=tuple(options["alias"]),
                    **families.get(options["family"]).defaults,
                )
            )
            if is_local:
                manifest = add(model, self.local_source(path, options))
                if manifest.left:
                    self.stdout.write(manifest.left_sentence)
                self.stdout.write(f"{model.slug} is installed in {model.folder}.")
                return
            (release if model.source == Source.URL else check_repo)(model.repo)
            model.full_clean()
            model.save(force_insert=True)
        except PaintingError as error:
            raise CommandError(error.message) from error
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
        except PullLost as error:
            raise CommandError("Another pull of this model has taken over.") from error
        self.stdout.write(f"{model.slug} is in the catalog; “python manage.py pull_model {model.slug}” installs it.")

    def local_source(self, path: Path, options: dict[str, Any]) -> LocalSource:
        parts = [part.expanduser() for part in options["part"]]
        return LocalSource(path.expanduser(), config=options["config"], parts=parts)

    def scan(self, folder: Path, *, adds: bool, is_linked: bool) -> None:
        """List what a folder holds, add it if `adds`, and name what is left with the reason."""
        if not folder.is_dir():
            raise CommandError(f"There is no folder {folder}.")
        with TemporaryDirectory(prefix="dreamlayer-") as scratch:
            self.list_found(folder, Path(scratch), adds=adds, is_linked=is_linked)

    def list_found(self, folder: Path, scratch: Path, *, adds: bool, is_linked: bool) -> None:
        ready = 0
        for slug, is_known, found in name_found(list(scan(folder, scratch))):
            place = found.path.relative_to(folder).as_posix()
            if found.reason:
                self.stdout.write(f"  left  {place}: {found.reason}")
                continue
            ready += not is_known
            what = " ".join(filter(None, (found.kind, found.control, "for" if found.control else "", found.family)))
            if found.parts:
                what += f" with {', '.join(part.name for part in found.parts)}"
            if found.lora_kind is not LoraKind.STYLE:
                what += f" {found.lora_kind}" + (f" of {found.steps} steps" if found.steps else "")
            self.stdout.write(f"{'  here' if is_known else '   new'}  {place}: {what}, {slug}")
            if not is_known and adds and (message := add_found(slug, found, is_linked=is_linked)):
                self.stdout.write(f"        {message}")
        if not adds:
            more = f"; {shell('add_model', '--scan', str(folder), '--add')} adds them." if ready else "."
            self.stdout.write(f"{ready} to add{more}")
