"""The checks of model files, for tests of files that are damaged between their check and their loading."""

CHECKS = (
    "inpainting.engines.diffusion.serving.loading.model_loading.check_model",
    "inpainting.engines.diffusion.serving.loading.adapter_loading.check_adapter",
    "inpainting.engines.diffusion.conditioning.lora_adapters.check_lora",
    "inpainting.engines.diffusion.conditioning.textual_inversion.check_embedding",
    "inpainting.engines.diffusion.safety_checker.check_model",
    "inpainting.networks.onnx_sessions.check_model",
    "inpainting.networks.transformers_models.check_model",
)
"""The checks before a library reads a file. Without them the libraries report the damage themselves."""
