"""The routes of the native API."""

from __future__ import annotations

from django.urls import path, register_converter

from inpainting.api import openapi
from inpainting.api.native import (
    analyses,
    batches,
    captions,
    catalog,
    downloads,
    drafts,
    front_end,
    generations,
    img2img,
    mask_operations,
    masks,
    plan,
    stacks,
    tickets,
    uploads,
    upscale,
    webhooks,
)

register_converter(drafts.Sha256Converter, "sha256")
register_converter(downloads.ConditioningImageConverter, "conditioning_image")
one = "api/generations/<uuid:pk>/"
batch = "api/batches/<uuid:pk>/"
stack = "api/stacks/<uuid:pk>/"

urlpatterns = [
    # Routes that existing clients use have both slash forms: a redirect would turn a POST into a GET.
    path("api/img2img", img2img.Img2Img.as_view(), name="img2img"),
    path("api/img2img/", img2img.Img2Img.as_view()),
    path("api/img2img/dry-run", plan.FormerDryRun.as_view()),
    path("api/img2img/dry-run/", plan.FormerDryRun.as_view()),
    path("api/img2img/interrupt", img2img.Interrupt.as_view(), name="img2img-interrupt"),
    path("api/img2img/interrupt/", img2img.Interrupt.as_view()),
    path("api/upscale", upscale.UpscaleView.as_view(), name="upscale"),
    path("api/upscale/", upscale.UpscaleView.as_view()),
    path("api/upload-mask", uploads.UploadMask.as_view(), name="upload-mask"),
    path("api/upload-mask/", uploads.UploadMask.as_view()),
    *(
        path(f"api/{route}{slash}", view.as_view(schema=None))
        for route, view in {
            "lora-models": front_end.LoraModels,
            "controlnet/models": front_end.ControlNetModels,
            "upscaler-models": front_end.UpscalerModels,
            "txt2img": front_end.TextToImage,
            "txt2img/interrupt": img2img.Interrupt,
            "extras/upscale": front_end.ExtrasUpscale,
            "send-to-img2img": front_end.SendToImg2Img,
            "send-to-extras": front_end.SendToExtras,
            "upload-controlnet-image": front_end.UploadControlImage,
            "fetch-prompt": front_end.FetchPrompt,
        }.items()
        for slash in ("", "/")
    ),
    path("images/<str:token>.<str:extension>", downloads.PublicImage.as_view(), name="public-image"),
    path("api/images/<str:token>.<str:extension>", downloads.PublicImage.as_view(), name="public-image-twin"),
    path("api/generations/", generations.GenerationList.as_view(), name="generation-list"),
    path(one, generations.GenerationDetail.as_view(), name="generation-detail"),
    path(one + "cancel/", generations.GenerationCancel.as_view(), name="generation-cancel"),
    path(one + "run-again/", generations.GenerationRunAgain.as_view(), name="generation-run-again"),
    path(one + "source/", downloads.GenerationSource.as_view(), name="generation-source"),
    path(
        one + "source/thumbnail/",
        downloads.GenerationSourceThumbnail.as_view(),
        name="generation-source-thumbnail",
    ),
    path(one + "source/preview/", downloads.GenerationSourcePreview.as_view(), name="generation-source-preview"),
    path(one + "mask/", downloads.GenerationMask.as_view(), name="generation-mask"),
    path(one + "mask/preview/", downloads.GenerationMaskPreview.as_view(), name="generation-mask-preview"),
    path(
        one + "<conditioning_image:name>/",
        downloads.GenerationConditioningImage.as_view(),
        name="generation-conditioning-image",
    ),
    path(
        one + "<conditioning_image:name>/preview/",
        downloads.GenerationConditioningImagePreview.as_view(),
        name="generation-conditioning-image-preview",
    ),
    path(one + "images/<int:index>/", downloads.GenerationImage.as_view(), name="generation-image"),
    path(
        one + "images/<int:index>/thumbnail/",
        downloads.GenerationImageThumbnail.as_view(),
        name="generation-image-thumbnail",
    ),
    path(
        one + "images/<int:index>/preview/",
        downloads.GenerationImagePreview.as_view(),
        name="generation-image-preview",
    ),
    path(one + "stack/", stacks.GenerationStack.as_view(), name="generation-stack"),
    path("api/stacks/", stacks.Stacks.as_view(), name="stacks"),
    path(stack, stacks.StackDetail.as_view(), name="stack"),
    path(stack + "image/", stacks.StackImage.as_view(), name="stack-image"),
    path(stack + "masks/", stacks.StackMasks.as_view(), name="stack-masks"),
    path(stack + "masks/<uuid:mask>/", stacks.StackMaskFile.as_view(), name="stack-mask"),
    path("api/batches/", batches.BatchList.as_view(), name="batch-list"),
    path("api/batches/upscale/", batches.UpscaleBatch.as_view(), name="batch-upscale"),
    path(batch, batches.BatchDetail.as_view(), name="batch-detail"),
    path(batch + "cancel/", batches.BatchCancel.as_view(), name="batch-cancel"),
    path(batch + "retry/", batches.BatchRetry.as_view(), name="batch-retry"),
    path(batch + "results.zip", batches.BatchResults.as_view(), name="batch-results"),
    path("api/draft/", drafts.DraftView.as_view(), name="draft"),
    path("api/draft/pictures/<sha256:sha256>/", drafts.DraftImageView.as_view(), name="draft-image"),
    path("api/draft/pictures/<sha256:sha256>/png/", drafts.DraftImagePng.as_view(), name="draft-image-png"),
    path("api/engines/", catalog.Engines.as_view(), name="engines"),
    path("api/analyses/<uuid:pk>/", analyses.AnalysisDetail.as_view(), name="analysis"),
    path("api/analyses/<uuid:pk>/cancel/", analyses.AnalysisCancel.as_view(), name="analysis-cancel"),
    path("api/captions/", captions.Captions.as_view(), name="captions"),
    path("api/masks/", masks.Masks.as_view(), name="masks"),
    path("api/masks/<uuid:pk>/", masks.MaskDetail.as_view(), name="mask"),
    path("api/masks/<uuid:pk>/file/", masks.MaskFile.as_view(), name="mask-file"),
    path("api/masks/operations/", mask_operations.MaskOperations.as_view(), name="mask-operations"),
    path("api/models", catalog.Models.as_view(), name="models"),
    path("api/models/", catalog.Models.as_view()),
    path("api/plan/", plan.PlanView.as_view(), name="plan"),
    path("api/schema/", openapi.Schema.as_view(), name="schema"),
    path("api/docs/", openapi.Docs.as_view(), name="api-docs"),
    path("api/tickets/", tickets.Tickets.as_view(), name="tickets"),
    path("api/usage/", catalog.Usage.as_view(), name="usage"),
    path("api/webhooks/deliveries/", webhooks.Deliveries.as_view(), name="webhook-deliveries"),
    path("api/webhooks/deliveries/<str:webhook_id>/resend/", webhooks.DeliveryResend.as_view(), name="webhook-resend"),
    path("api/webhooks/test/", webhooks.SendTest.as_view(), name="webhook-test"),
    path("api/webhooks/secret/", webhooks.Secret.as_view(), name="webhook-secret"),
    path("api/webhooks/secret/rotate/", webhooks.SecretRotate.as_view(), name="webhook-secret-rotate"),
]
