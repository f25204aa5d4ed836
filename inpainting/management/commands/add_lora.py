"""Add a LoRA to the catalog: one's own .safetensors file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from inpainting.core.errors import PaintingError
from inpainting.engines.catalog import LORA_FAMILIES, LoraKind, check_slug
from inpainting.model_store.loras import add
from inpainting.models import Lora


class Command(BaseCommand):
    help = "Add a LoRA: a .safetensors file, which is looked through, copied, and ready at once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("slug", help="how callers name it: a-z, 0-9, full stop, underscore, hyphen")
        parser.add_argument("--family", required=True, choices=sorted(LORA_FAMILIES))
        parser.add_argument("--from", dest="origin", required=True, metavar="FILE")
        parser.add_argument(
            "--kind",
            default=LoraKind.STYLE.value,
            choices=[kind.value for kind in LoraKind],
            help="lcm, lightning, hyper: sets steps, guidance and scheduler by itself",
        )
        parser.add_argument("--steps", type=int, help="to how many steps one of these was distilled")
        parser.add_argument("--trigger", default="", metavar="WORDS", help="words that a prompt must hold")
        parser.add_argument("--label", help="how people call it; the slug unless given")
        parser.add_argument("--licence", default="", help="shown with it")

    def handle(self, *args: Any, **options: Any) -> None:
        names = ("slug", "family", "kind", "steps", "trigger", "licence")
        lora = Lora(label=options["label"] or options["slug"], **{name: options[name] for name in names})
        try:
            check_slug(lora.slug)
            if Lora.objects.filter(slug=lora.slug).exists():
                raise CommandError(f"There is a LoRA {lora.slug} already; remove it in the admin first.")
            add(lora, Path(options["origin"]).expanduser())
        except PaintingError as error:
            raise CommandError(error.message) from error
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
        except OSError as error:
            raise CommandError(f"The disk said: {error.strerror or error}.") from error
        self.stdout.write(f"{lora.slug} is ready for models of the family {lora.family}.")
