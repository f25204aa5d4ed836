"""Upscalers that run models of the catalog. torch and onnxruntime are imported with the first network."""
