"""HEIF and AVIF: boxes of the ISO base media file format, and the images in them."""
