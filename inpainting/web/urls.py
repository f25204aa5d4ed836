from django.urls import path

from inpainting.web import storage, views

urlpatterns = [
    path("", views.editor, name="editor"),
    path("history/", views.history_page, name="history"),
    path("storage/", storage.storage, name="storage"),
    path("storage/delete-everything/", storage.delete_everything, name="storage-delete"),
    path("generations/<uuid:pk>/", views.generation_page, name="generation"),
]
