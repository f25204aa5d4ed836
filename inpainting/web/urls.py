from django.urls import path

from inpainting.web import views

urlpatterns = [
    path("", views.editor, name="editor"),
    path("history/", views.history_page, name="history"),
    path("generations/<uuid:pk>/", views.generation_page, name="generation"),
]
