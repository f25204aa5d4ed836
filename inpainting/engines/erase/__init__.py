"""The erase engine: LaMa and MI-GAN as ONNX, small networks that inpaint without a prompt."""
