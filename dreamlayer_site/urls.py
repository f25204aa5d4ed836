"""URL configuration of the site."""

from __future__ import annotations

from allauth.account.decorators import secure_admin_login
from django.contrib import admin
from django.urls import include, path

from dreamlayer_site.language import javascript_catalog
from inpainting.admin.dashboard import dashboard_page
from inpainting.admin.usage import usage_page
from inpainting.admin.workers import drain_worker, resume_worker, workers_page

# The admin's sign-in form has no rate limits, so the admin uses allauth's sign-in page.
admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign]
admin.site.site_header = admin.site.site_title = "DreamLayer"

handler404 = "inpainting.api.error_handlers.page_not_found"
handler429 = "accounts.views.too_many_requests"
handler500 = "inpainting.api.error_handlers.server_error"
urlpatterns = [
    path("", include("inpainting.web.urls")),
    path("", include("inpainting.api.urls")),
    path("", include("accounts.urls")),
    path("accounts/", include("allauth.account.urls")),
    path("accounts/2fa/", include("allauth.mfa.urls")),
    path("accounts/sessions/", include("allauth.usersessions.urls")),
    path("catalog.js", javascript_catalog, name="javascript-catalog"),
    path("admin/", dashboard_page, name="dashboard"),
    path("admin/usage/", usage_page, name="usage-of-users"),
    path("admin/workers/", workers_page, name="workers-page"),
    path("admin/workers/<int:pk>/drain/", drain_worker, name="worker-drain"),
    path("admin/workers/<int:pk>/resume/", resume_worker, name="worker-resume"),
    path("admin/", admin.site.urls),
]
