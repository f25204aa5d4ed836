"""Segmenters: image to mask. One module each; `registry` finds them."""
