from django.urls import path

from inpainting.web import models, review, storage, views

urlpatterns = [
    path("", views.editor, name="editor"),
    path("history/", views.history_page, name="history"),
    path("storage/", storage.storage, name="storage"),
    path("storage/delete-everything/", storage.delete_everything, name="storage-delete"),
    path("models/", models.models_page, name="models-page"),
    path("models/<str:slug>/pull/", models.pull_model, name="model-pull"),
    path("models/<str:slug>/remove/", models.remove_model, name="model-remove"),
    path("models/<str:slug>/switch/", models.switch_model, name="model-switch"),
    path("generations/<uuid:pk>/", views.generation_page, name="generation"),
    path("generations/<uuid:pk>/hidden/<int:index>/", review.hidden_picture, name="hidden-picture"),
]
