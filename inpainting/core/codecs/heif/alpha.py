"""Finds the alpha of an AVIF or HEIC: of the image, or of all tiles of a grid (ISO/IEC 23000-22, section 7.3.5)."""

from __future__ import annotations

from dataclasses import dataclass

from inpainting.core.codecs.heif.items import Item, Items, auxiliary_kind

ALPHA_KINDS = (b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha", b"urn:mpeg:hevc:2015:auxid:1")
KEPT_OF_TILES = (b"pixi", b"auxC")


@dataclass(frozen=True, slots=True)
class Alpha:
    """The alpha of an image."""

    item: Item
    tiles: list[Item]  # those of the item if it is a grid
    is_premultiplied: bool  # it multiplies the colours


def find_alpha(items: Items, image: Item) -> Alpha | None:
    """Return the alpha of an image, or of the tiles of a grid as one grid.

    Raises InvalidImage where some tiles alone have alpha, or the colours of some alone are multiplied with it.
    """
    alpha_of = _alpha_items(items)
    if image.number in alpha_of:
        item = alpha_of[image.number]
        return Alpha(item, items.tiles(item), _is_premultiplied(items, image, item))
    tiles = items.tiles(image)
    alphas = [alpha_of[tile.number] for tile in tiles if tile.number in alpha_of]
    if not alphas:
        return None
    premultiplied = {_is_premultiplied(items, tile, alpha) for tile, alpha in zip(tiles, alphas, strict=False)}
    if len(alphas) != len(tiles) or len(premultiplied) != 1:
        raise items.intake.damage_error("its parts contradict each other")
    properties = [prop for prop in image.properties if prop.kind == b"ispe"]
    properties += [prop for prop in alphas[0].properties if prop.kind in KEPT_OF_TILES]
    return Alpha(Item(0, image.kind, properties, image.extents, image.source), alphas, premultiplied.pop())


def _alpha_items(items: Items) -> dict[int, Item]:
    """Return the first alpha item of each item that has one, by the number of that item."""
    found: dict[int, Item] = {}
    for (kind, number), targets in items.references.items():
        item = items.by_number.get(number)
        if kind == b"auxl" and item is not None and auxiliary_kind(item).startswith(ALPHA_KINDS):
            for target in targets:
                found.setdefault(target, item)
    return found


def _is_premultiplied(items: Items, image: Item, alpha: Item) -> bool:
    return any(item is alpha for item in items.referred(b"prem", image))
