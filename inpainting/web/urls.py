from django.urls import path

from inpainting.web import account_page, model_pages, review, storage_page, views

urlpatterns = [
    path("", views.editor, name="editor"),
    path("history/", views.history_page, name="history"),
    path("account/", account_page.account, name="account"),
    path("storage/", storage_page.storage, name="storage"),
    path("storage/delete-everything/", storage_page.delete_everything, name="storage-delete"),
    path("models/", model_pages.models_page, name="models-page"),
    path("models/<str:slug>/pull/", model_pages.pull_model, name="model-pull"),
    path("models/<str:slug>/remove/", model_pages.remove_model, name="model-remove"),
    path("models/<str:slug>/switch/", model_pages.switch_model, name="model-switch"),
    path("generations/<uuid:pk>/", views.generation_page, name="generation"),
    path("generations/<uuid:pk>/hidden/<int:index>/", review.hidden_picture, name="hidden-picture"),
]
