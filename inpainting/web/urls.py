from django.urls import path

from inpainting.web import account_page, model_pages, review, sample_page, storage_page, views

urlpatterns = [
    path("", views.first_page, name="editor"),
    path("sample/", sample_page.erase, name="sample"),
    path("welcome/", sample_page.welcome, name="welcome"),
    path("history/", views.history_page, name="history"),
    path("account/", account_page.account, name="account"),
    path("account/export.zip", account_page.export, name="account-export"),
    path("account/delete/", account_page.delete, name="account-delete"),
    path("storage/", storage_page.storage, name="storage"),
    path("storage/delete-everything/", storage_page.delete_everything, name="storage-delete"),
    path("models/", model_pages.models_page, name="models-page"),
    path("models/<str:slug>/pull/", model_pages.pull_model, name="model-pull"),
    path("models/<str:slug>/remove/", model_pages.remove_model, name="model-remove"),
    path("models/<str:slug>/switch/", model_pages.switch_model, name="model-switch"),
    path("generations/<uuid:pk>/", views.generation_page, name="generation"),
    path("generations/<uuid:pk>/hidden/<int:index>/", review.hidden_picture, name="hidden-picture"),
]
