from django.urls import path

from inpainting.api import generations, native

one = "api/generations/<uuid:pk>/"

urlpatterns = [
    # Both slash forms: a redirect would turn a client's POST into a GET.
    path("api/img2img", native.Img2Img.as_view(), name="img2img"),
    path("api/img2img/", native.Img2Img.as_view()),
    path("images/<str:token>.png", generations.PublicImage.as_view(), name="public-image"),
    path(one, generations.GenerationDetail.as_view(), name="generation-detail"),
    path(one + "cancel/", generations.GenerationCancel.as_view(), name="generation-cancel"),
    path(one + "source/", generations.GenerationSource.as_view(), name="generation-source"),
    path(
        one + "source/thumbnail/",
        generations.GenerationSourceThumbnail.as_view(),
        name="generation-source-thumbnail",
    ),
    path(one + "mask/", generations.GenerationMask.as_view(), name="generation-mask"),
    path(one + "images/<int:index>/", generations.GenerationImage.as_view(), name="generation-image"),
    path(
        one + "images/<int:index>/thumbnail/",
        generations.GenerationImageThumbnail.as_view(),
        name="generation-image-thumbnail",
    ),
]
