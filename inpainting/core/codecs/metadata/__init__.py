"""What an image file says of its image: Exif, XMP, and the generation parameters as a text."""
