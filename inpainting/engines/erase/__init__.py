"""Small networks that close a hole from what is around it: LaMa and MI-GAN, as ONNX."""
