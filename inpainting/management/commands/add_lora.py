"""Add a LoRA to the catalog: one's own .safetensors file, or one of the hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.template.defaultfilters import filesizeformat

from inpainting.catalog import families
from inpainting.catalog.specs import LoraKind, check_slug
from inpainting.catalog.store.hub import HubSupply, go_online
from inpainting.catalog.store.lora_store import add, pull
from inpainting.core.errors import PaintingError
from inpainting.management.commands.pull_model import confirmed
from inpainting.models import Lora


class Command(BaseCommand):
    help = "Add a LoRA: a .safetensors file of this machine or of the hub, which is looked through, and ready at once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("slug", help="how callers name it: a-z, 0-9, full stop, underscore, hyphen")
        parser.add_argument("--family", required=True, choices=families.with_loras())
        origin = parser.add_mutually_exclusive_group(required=True)
        origin.add_argument("--from", dest="origin", metavar="FILE", help="copy it from here; no network")
        origin.add_argument("--repo", default="", metavar="OWNER/NAME", help="get it from this repository of the hub")
        parser.add_argument("--file", default="", metavar="NAME", help="which of its files, where it has more")
        parser.add_argument("--revision", default="", metavar="HASH", help="which commit of the repository; the newest")
        parser.add_argument("--yes", action="store_true", help="do not ask before a download")
        parser.add_argument(
            "--kind",
            default=LoraKind.STYLE.value,
            choices=[kind.value for kind in LoraKind],
            help="lcm, lightning, hyper: sets steps, guidance and scheduler by itself",
        )
        parser.add_argument("--steps", type=int, help="to how many steps one of these was distilled")
        parser.add_argument("--trigger", default="", metavar="WORDS", help="words that a prompt must hold")
        parser.add_argument("--label", help="how people call it; the slug unless given")
        parser.add_argument("--licence", default="", help="shown with it; of the hub's files what the hub says")

    def handle(self, *args: Any, **options: Any) -> None:
        names = ("slug", "family", "kind", "steps", "trigger", "licence", "repo", "revision")
        lora = Lora(label=options["label"] or options["slug"], **{name: options[name] for name in names})
        if not lora.repo and (options["file"] or lora.revision):
            raise CommandError("--file and --revision are for what --repo names.")
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
            raise CommandError(f"The disk said: {error.strerror or error}.") from error
        self.stdout.write(f"{lora.slug} is ready for models of the family {lora.family}.")

    def pull(self, lora: Lora, name: str, *, is_sure: bool) -> None:
        go_online()
        supply = HubSupply()
        offer = supply.offer_lora(lora, name)
        (file,) = offer.files
        self.stdout.write(f"{file.name} of {lora.repo}")
        self.stdout.write(f"  revision {offer.revision}")
        self.stdout.write(f"  licence  {lora.licence or offer.licence or 'not known'}")
        self.stdout.write(f"  size     {filesizeformat(offer.size_bytes)}")
        self.stdout.flush()
        if not is_sure and not confirmed():
            raise CommandError("Nothing was downloaded. --yes begins without asking.")
        pull(lora, supply, offer)
