"""What files and folders of each format contain: safetensors, GGUF, PyTorch, ONNX, diffusers and transformers."""
