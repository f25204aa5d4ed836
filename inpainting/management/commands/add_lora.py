"""Add a LoRA to the catalog: a local .safetensors file, or one from the hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.template.defaultfilters import filesizeformat

from inpainting import families
from inpainting.catalog.specs import LoraKind, check_slug
from inpainting.catalog.store.hub import HubSource, go_online
from inpainting.catalog.store.lora_store import add, pull
from inpainting.core.errors import PaintingError
from inpainting.management.commands.pull_model import confirmed
from inpainting.models import Lora


class Command(BaseCommand):
    help = "Add a LoRA from a local .safetensors file or from the hub. The file is checked; the LoRA is ready at once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("slug", help="name in the API: a-z, 0-9, full stop, underscore, hyphen")
        parser.add_argument("--family", required=True, choices=families.families_with_loras())
        origin = parser.add_mutually_exclusive_group(required=True)
        origin.add_argument("--from", dest="origin", metavar="FILE", help="local file to copy; no network")
        origin.add_argument("--repo", default="", metavar="OWNER/NAME", help="repository on the hub to download from")
        parser.add_argument("--file", default="", metavar="NAME", help="file of the repository, if it has several")
        parser.add_argument("--revision", default="", metavar="HASH", help="commit of the repository; default: newest")
        parser.add_argument("--yes", action="store_true", help="download without asking")
        parser.add_argument(
            "--kind",
            default=LoraKind.STYLE.value,
            choices=[kind.value for kind in LoraKind],
            help="lcm, lightning and hyper set steps, guidance and scheduler",
        )
        parser.add_argument("--steps", type=int, help="number of steps that it was distilled to")
        parser.add_argument("--trigger", default="", metavar="WORDS", help="trigger words that the prompt must contain")
        parser.add_argument("--label", help="name on the pages; default: the slug")
        parser.add_argument("--licence", default="", help="shown with the LoRA; default: the licence on the hub")

    def handle(self, *args: Any, **options: Any) -> None:
        names = ("slug", "family", "kind", "steps", "trigger", "licence", "repo", "revision")
        lora = Lora(label=options["label"] or options["slug"], **{name: options[name] for name in names})
        if not lora.repo and (options["file"] or lora.revision):
            raise CommandError("--file and --revision need --repo.")
        try:
            check_slug(lora.slug)
            if Lora.objects.filter(slug=lora.slug).exists():
                raise CommandError(f"There is a LoRA {lora.slug} already; remove it in the admin first.")
            if lora.repo:
                self.pull(lora, options["file"], is_sure=options["yes"])
            else:
                add(lora, Path(options["origin"]).expanduser())
        except PaintingError as error:
            raise CommandError(error.message) from error
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
        except OSError as error:
            raise CommandError(f"The disk failed: {error.strerror or error}.") from error
        self.stdout.write(f"{lora.slug} is ready for models of the family {lora.family}.")

    def pull(self, lora: Lora, name: str, *, is_sure: bool) -> None:
        go_online()
        hub = HubSource()
        manifest = hub.lora_manifest(lora, name)
        (file,) = manifest.files
        self.stdout.write(f"{file.name} of {lora.repo}")
        self.stdout.write(f"  revision {manifest.revision}")
        self.stdout.write(f"  licence  {lora.licence or manifest.licence or 'not known'}")
        self.stdout.write(f"  size     {filesizeformat(manifest.size_bytes)}")
        self.stdout.flush()
        if not is_sure and not confirmed():
            raise CommandError("Nothing was downloaded. --yes downloads without asking.")
        pull(lora, hub, manifest)
