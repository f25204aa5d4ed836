"""Django's admin with this project's site. Not in `apps.py`, where Django would take it for the app of this package."""

from django.contrib.admin.apps import AdminConfig


class DreamLayerAdminConfig(AdminConfig):
    default_site = "accounts.recorded_admin.RecordedSite"
