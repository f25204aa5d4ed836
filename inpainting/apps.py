"""The app configuration: create the engines at start-up; after `migrate`, add the shipped models and the triggers."""

from typing import Any

from django.apps import AppConfig
from django.apps import apps as global_apps
from django.db import DEFAULT_DB_ALIAS
from django.db.models.signals import post_migrate, pre_migrate
from django.utils.translation import gettext_lazy

from inpainting.catalog.shipped import SHIPPED, SHIPPED_ADAPTERS
from inpainting.catalog.shipped_tools import SHIPPED_TOOLS
from inpainting.database import owner_totals, search_index
from inpainting.engines import registry


class InpaintingConfig(AppConfig):
    name = "inpainting"
    verbose_name = gettext_lazy("Inpainting")

    def ready(self) -> None:
        from inpainting import checks  # noqa: F401 - importing it registers the checks

        registry.engines()
        post_migrate.connect(add_shipped_models, sender=self)
        for kept in (owner_totals, search_index):
            pre_migrate.connect(kept.remove_before_migrate, sender=self)
            post_migrate.connect(kept.install_after_migrate, sender=self)


def add_shipped_models(*, using: str = DEFAULT_DB_ALIAS, apps: Any = global_apps, **kwargs: Any) -> None:
    """Add the shipped models that the catalog lacks, after a migrate or a flush. Rows that exist are not changed."""
    from inpainting.catalog.rows.inference_model import spec_columns  # Django loads models after app modules

    try:
        model = apps.get_model("inpainting", "InferenceModel")
    except LookupError:
        return  # the table does not exist at the migration that was chosen
    columns = {field.name for field in model._meta.fields}
    rows = model.objects.using(using)
    existing = set(rows.values_list("slug", flat=True))
    shipped = (*SHIPPED, *SHIPPED_ADAPTERS, *SHIPPED_TOOLS)
    missing = [spec_columns(spec) for spec in shipped if spec.slug not in existing]
    # Another process may add them at the same moment.
    rows.bulk_create(
        [model(**{name: value for name, value in values.items() if name in columns}) for values in missing],
        ignore_conflicts=True,
    )
