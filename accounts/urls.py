from django.urls import path

from accounts import views

urlpatterns = [
    path("keys/", views.api_keys, name="api-keys"),
    path("keys/<int:pk>/revoke/", views.revoke_api_key, name="api-key-revoke"),
    path("accounts/sessions/<int:pk>/end/", views.end_session, name="session-end"),
    path("language/", views.choose_language, name="language"),
    path("session/", views.session, name="session"),
    path("setup/<str:token>/", views.create_first_administrator, name="setup"),
]
