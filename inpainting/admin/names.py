"""The names of tables and their columns on Django's pages of the admin, in the language of the page.

Django makes them from the names of classes and attributes. `verbose_name=gettext_lazy("created at")` would be a
migration for every column, so they are translated in the models that are loaded. What models declare themselves
(`help_text`, labels of choices) is marked there by `gettext_lazy`, which is no change for migrations.
"""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.db.models import Field
from django.utils.functional import lazy

from inpainting.core.sentences import mark, pmark
from inpainting.translation import translated

NAMES: tuple[str, ...] = (
    *(mark("action"), mark("added at"), mark("aliases"), mark("attempts"), mark("control"), mark("created at")),
    *(mark("days"), mark("data"), mark("delivered at"), mark("denoising strength"), mark("e-mail address")),
    *(mark("enabled"), mark("ends links"), mark("error code"), mark("error message"), mark("event")),
    *(mark("expires at"), mark("failure"), mark("fallback"), mark("family"), mark("files"), mark("finished at")),
    *(mark("guidance scale"), mark("height"), mark("id"), mark("index"), mark("installed at"), mark("ip")),
    *(mark("is refused"), mark("kind"), mark("label"), mark("last seen at"), mark("last used at"), mark("licence")),
    *(mark("licence url"), mark("megapixels per day"), mark("memory bytes"), mark("message"), mark("milliseconds")),
    *(mark("name"), mark("next attempt at"), mark("note"), mark("owner"), mark("per day"), mark("per minute")),
    *(mark("prefix"), mark("refusal"), mark("repo"), mark("request id"), mark("revision"), mark("revoked at")),
    *(mark("scheduler"), mark("scopes"), mark("service"), mark("sha256"), mark("size bytes"), mark("slug")),
    *(mark("source"), mark("started at"), mark("state"), mark("status"), mark("steps"), mark("stored megabytes")),
    *(mark("target type"), mark("task"), mark("tries"), mark("trigger"), mark("type"), mark("url"), mark("user")),
    *(mark("user agent"), mark("variant"), mark("waiting"), mark("webhook id"), mark("weight"), mark("width")),
    *(mark("worker"), pmark("a time", "at")),
    *(mark("API key"), mark("API keys"), mark("LoRA"), mark("LoRAs"), mark("analysis"), mark("analyses")),
    *(mark("audit entry"), mark("audit log"), mark("batch"), mark("batches"), mark("batch item")),
    *(mark("batch items"), mark("generation"), mark("generations"), mark("limits"), mark("model"), mark("models")),
    *(mark("retention"), mark("webhook attempt"), mark("webhook attempts"), mark("webhook delivery")),
    *(mark("webhook deliveries"), mark("authenticator"), mark("authenticators"), mark("user session")),
    mark("user sessions"),
)
translated_lazily = lazy(translated, str)


def translate_names() -> None:
    """Replace the names of all models, also those of other packages, by names in the language of the page."""
    names = {str(name): translated_lazily(name) for name in NAMES}
    for model in apps.get_models():
        options: Any = model._meta
        if isinstance(options.verbose_name, str):
            one, many = options.verbose_name, str(options.verbose_name_plural)
            options.verbose_name, options.verbose_name_plural = names.get(one, one), names.get(many, many)
        for field in options.get_fields():
            if isinstance(field, Field) and isinstance(field.verbose_name, str):
                field.verbose_name = names.get(field.verbose_name, field.verbose_name)
