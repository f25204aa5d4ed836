"""What a request lists: LoRAs, ControlNets and IP-Adapters, each with its numbers, and regions with their prompts; and
all its conditioning images: theirs, and those that need no adapter, reference images and the image to insert.

The first ControlNet and the first IP-Adapter have settings of their own too, such as `control`; see `AdapterList`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar

from inpainting.core.errors import InvalidRequest
from inpainting.core.sentences import mark, sentence
from inpainting.core.validation import check_range, check_slug, check_text

MAX_CONTROLS = 4
MAX_IP_ADAPTERS = 4
MAX_REFERENCES = 4
MAX_REGIONS = 8
MAX_PROMPT_CHARACTERS = 10_000
MAX_NAME_CHARACTERS = 200
LORA_WEIGHTS = (-2.0, 2.0)
"""The lowest and the highest weight of a LoRA. 1 applies it as trained; a negative weight pushes the other way."""
CONTROL_STRENGTHS = (0.0, 2.0)
"""The lowest and the highest scale of a ControlNet's output."""
IP_ADAPTER_SCALES = (0.0, 1.0)
"""The lowest and the highest weight of an image prompt."""
REGION_WEIGHTS = (0.0, 1.0)
"""The lowest and the highest weight of a region's prompt."""
CONTROL_TYPES = (
    *("inpaint", "canny", "depth", "scribble", "tile", "openpose", "lineart", "softedge", "normal", "segment"),
)
"""Kinds of control images."""


@dataclass(frozen=True, slots=True)
class LoraUse:
    """A LoRA of the catalog and its weight. Raises InvalidRequest for a malformed slug or a weight out of range."""

    slug: str
    weight: float = 1.0

    def __post_init__(self) -> None:
        check_slug(self.slug, field="loras")
        check_range("weight", self.weight, *LORA_WEIGHTS, field="loras")


@dataclass(frozen=True, slots=True)
class EntryField:
    """A field of a `ListEntry` with a default: a number within a range, or one of a few choices."""

    default: float | None  # of the field; None leaves it to the adapter
    range: tuple[float, float] | None = None
    choices: tuple[str, ...] = ()

    def check(self, name: str, value: Any, setting: str) -> None:
        """Raise InvalidRequest unless the value is allowed.

        setting: the one that lists the entry.
        """
        if self.range is not None:
            check_range(name, value, *self.range, field=setting)
        elif value is not None and value not in self.choices:
            raise InvalidRequest(
                sentence(
                    "There is no {name} of that name; there are: {names}.", name=name, names=", ".join(self.choices)
                ),
                field=setting,
            )


def number(default: float, lowest: float, highest: float) -> Any:
    """Declare a number of an entry."""
    return field(default=default, metadata={"entry": EntryField(default, range=(lowest, highest))})


def choice(choices: tuple[str, ...]) -> Any:
    """Declare a name of an entry; None leaves it to the adapter."""
    return field(default=None, metadata={"entry": EntryField(None, choices=choices)})


def entry_fields(use: type[ListEntry]) -> dict[str, EntryField]:
    """Return the fields of an entry that have a default, by their names: all beside its slug or its prompt."""
    return {declared.name: declared.metadata["entry"] for declared in fields(use) if declared.metadata}


@dataclass(frozen=True, slots=True)
class ListEntry:
    """Base class of the entries of a setting that lists something with a conditioning image each.

    Raises InvalidRequest for a field out of its range.
    """

    SETTING: ClassVar[str]

    def __post_init__(self) -> None:
        for name, entry in entry_fields(type(self)).items():
            entry.check(name, getattr(self, name), self.SETTING)


@dataclass(frozen=True, slots=True)
class AdapterUse(ListEntry):
    """Base class of the entries of an `AdapterList`."""

    slug: str  # in the catalog, or an alias

    def __post_init__(self) -> None:
        check_text(self.SETTING, self.slug, MAX_NAME_CHARACTERS)
        ListEntry.__post_init__(self)  # `super()` refers to the class before slots were added


@dataclass(frozen=True, slots=True)
class ControlUse(AdapterUse):
    """A ControlNet of a request."""

    SETTING = "controls"

    strength: float = number(1.0, *CONTROL_STRENGTHS)
    # `start`, `end`: the shares of the steps between which it is applied, 0 to 1.
    start: float = number(0.0, 0.0, 1.0)
    end: float = number(1.0, 0.0, 1.0)
    # Of a ControlNet-Union, the kind of its control image; None leaves the choice to the ControlNet.
    type: str | None = choice(CONTROL_TYPES)

    def __post_init__(self) -> None:
        AdapterUse.__post_init__(self)
        if self.start > self.end:
            raise InvalidRequest(
                sentence(
                    "The ControlNet {slug} starts at {start:g}, after its end, {end:g}.",
                    slug=self.slug,
                    start=self.start,
                    end=self.end,
                ),
                field=self.SETTING,
            )


@dataclass(frozen=True, slots=True)
class IPAdapterUse(AdapterUse):
    """An IP-Adapter of a request."""

    SETTING = "ip_adapters"

    scale: float = number(1.0, *IP_ADAPTER_SCALES)  # the weight of its image prompt


@dataclass(frozen=True, slots=True)
class Region(ListEntry):
    """A region of the image with a prompt of its own. Its mask is the conditioning image of its index."""

    SETTING = "regions"

    prompt: str
    weight: float = number(1.0, *REGION_WEIGHTS)  # against the prompt of the request; 0: the region changes nothing
    # Beside those of the request; of one that both have the weight here is that of the region.
    loras: tuple[LoraUse, ...] = ()

    def __post_init__(self) -> None:
        check_text(self.SETTING, self.prompt, MAX_PROMPT_CHARACTERS)
        ListEntry.__post_init__(self)
        if len({use.slug for use in self.loras}) < len(self.loras):
            raise InvalidRequest(
                sentence("{name} lists a LoRA more than once in one region.", name=self.SETTING), field=self.SETTING
            )

    def active_loras(self, common: Sequence[LoraUse]) -> tuple[LoraUse, ...]:
        """Return the LoRAs of its prediction. common: those of the request."""
        return tuple({use.slug: use for use in (*common, *self.loras)}.values())


def entry_to_dict(entry: LoraUse | ListEntry) -> dict[str, Any]:
    """Return the fields as `dataclasses.asdict` does, without an empty list of a region's LoRAs."""
    return {name: value for name, value in asdict(entry).items() if name != "loras" or value}


def entry_from_dict(use: type[LoraUse | ListEntry], values: Mapping[str, Any]) -> LoraUse | ListEntry:
    """Build an entry from what `entry_to_dict` returned, or from that in JSON. Raises InvalidRequest."""
    loras = {"loras": tuple(LoraUse(**lora) for lora in values["loras"])} if "loras" in values else {}
    return use(**{**values, **loras})


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageList:
    """Conditioning images of one kind."""

    limit: int  # the number of images at most
    image: str  # the first image, by its name in a request
    # `image_label`, `image_help`: of that image, for people.
    image_label: str
    image_help: str
    is_scaled: bool = False  # whether its images are scaled to the size of the source image, and cut as it is

    @property
    def images(self) -> tuple[str, ...]:
        """The name of each image in a request."""
        return (self.image, *(f"{self.image}_{number}" for number in range(2, self.limit + 1)))


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterList(ImageList):
    """A setting that lists adapters with a conditioning image each, and the settings that stand for its first entry."""

    use: type[AdapterUse]  # the class of an entry
    kind: str  # of the adapters in the catalog
    noun: str  # of one entry, for people; a name that is not translated
    add_label: str  # of the button that adds an entry
    first: Mapping[str, str]  # setting -> the field of the first entry; the first of them names the adapter
    shares_image: bool = False  # whether an entry without an image of its own has that of the first
    is_repeatable: bool = False  # whether entries may be equal, since each has an image of its own

    @property
    def setting(self) -> str:
        """The name of the setting."""
        return self.use.SETTING

    @property
    def name(self) -> str:
        """The setting that names the first adapter."""
        return next(iter(self.first))

    def uses(self, settings: Any) -> tuple[Any, ...]:
        """Return all entries, whether the list or the settings of the first one name them."""
        listed: tuple[AdapterUse, ...] = getattr(settings, self.setting)
        if listed or getattr(settings, self.name) is None:
            return listed
        values = {name: getattr(settings, setting) for setting, name in self.first.items()}
        return (self.use(**{name: value for name, value in values.items() if value is not None}),)

    def first_settings(self, uses: Sequence[AdapterUse]) -> dict[str, Any]:
        """Return the settings of the first entry."""
        return {setting: getattr(use, name) for use in uses[:1] for setting, name in self.first.items()}

    def check(self, settings: Any) -> None:
        """Raise InvalidRequest where the settings of the first entry contradict the list."""
        for first in getattr(settings, self.setting)[:1]:
            for setting, name in self.first.items():
                value, listed = getattr(settings, setting), getattr(first, name)
                if value is not None and value != listed:
                    raise InvalidRequest(
                        sentence(
                            "{setting} is {value}, and the first entry of {setting_2} has {listed} as "
                            "its {name}. Send the first {noun} in one of the two ways.",
                            setting=setting,
                            value=value,
                            setting_2=self.setting,
                            listed=listed,
                            name=name,
                            noun=self.noun,
                        ),
                        field=setting,
                    )

    def merge(self, stored: Mapping[str, Any], sent: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return stored and sent settings without those that the list and the first entry's settings say twice.

        stored: as `PaintSettings.to_dict` gives them. A list that is sent replaces the stored settings of its first
            entry. Settings of the first entry that are sent change it in a stored list; None resets one, and without a
            name for the adapter nothing is left of the list.
        """
        changes = {name: sent[setting] for setting, name in self.first.items() if setting in sent}
        if self.setting in sent:
            return {name: value for name, value in stored.items() if name not in self.first}, dict(sent)
        if not changes or not stored.get(self.setting):
            return dict(stored), dict(sent)
        own = {self.setting, *self.first}
        first, *others = stored[self.setting]
        first = {name: value for name, value in {**first, **changes}.items() if value is not None}
        listed = {self.setting: (first, *others)} if "slug" in first else {}
        left = {name: value for name, value in stored.items() if name not in own}
        return {**left, **listed}, {name: value for name, value in sent.items() if name not in own}


CONTROLS = AdapterList(
    use=ControlUse,
    kind="controlnet",
    noun="ControlNet",
    add_label=mark("Add another ControlNet"),
    limit=MAX_CONTROLS,
    image="control_image",
    image_label=mark("Control image"),
    image_help=mark(
        "The conditioning image of the first ControlNet, unless computed; scaled to the size of the image."
    ),
    is_scaled=True,
    shares_image=True,
    first={
        "control": "slug",
        "control_strength": "strength",
        "control_start": "start",
        "control_end": "end",
        "control_type": "type",
    },
)
IP_ADAPTERS = AdapterList(
    use=IPAdapterUse,
    kind="ip-adapter",
    noun="IP-Adapter",
    add_label=mark("Add another IP-Adapter"),
    limit=MAX_IP_ADAPTERS,
    image="ip_adapter_image",
    image_label=mark("Image prompt"),
    image_help=mark("The image prompt of the first IP-Adapter; of any size."),
    first={"ip_adapter": "slug", "ip_adapter_scale": "scale"},
    is_repeatable=True,
)
REFERENCES = ImageList(
    limit=MAX_REFERENCES,
    image="reference_image",
    image_label=mark("Reference image"),
    image_help=mark("What a prompt may refer to beside the image, for models that take reference images; of any size."),
)
REGIONS = ImageList(
    limit=MAX_REGIONS,
    image="region_mask",
    image_label=mark("Region mask"),
    image_help=mark(
        "Where the prompt of the first region applies: white, whatever mask_polarity says; grey in part. Scaled to the "
        "size of the image."
    ),
    is_scaled=True,
)
INSERT = ImageList(
    limit=1,
    image="insert_image",
    image_label=mark("Image to insert"),
    image_help=mark(
        "What is inserted into the masked area, of any size, where insert_x, insert_y, insert_width and "
        "insert_rotation place it. Transparent pixels are left out."
    ),
)
ADAPTER_LISTS = (CONTROLS, IP_ADAPTERS)
LISTS_BY_SETTING = {adapters.setting: adapters for adapters in ADAPTER_LISTS}
IMAGE_LISTS: Mapping[str, ImageList] = {
    **LISTS_BY_SETTING,
    "references": REFERENCES,
    Region.SETTING: REGIONS,
    "insert": INSERT,
}
"""All conditioning images by their role: the setting that lists their adapters or regions, or what needs none."""
IMAGE_LABELS = {
    name: f"{images.image_label} {number}" if number > 1 else images.image_label
    for images in IMAGE_LISTS.values()
    for number, name in enumerate(images.images, 1)
}
"""The conditioning images of a request, by their names -> a label for people."""
CONDITIONING_IMAGES = tuple(IMAGE_LABELS)
SCALED_IMAGES = frozenset(name for images in IMAGE_LISTS.values() if images.is_scaled for name in images.images)
"""The conditioning images that have the size of the source image."""
IMAGE_PLACES = {name: (role, index) for role, images in IMAGE_LISTS.items() for index, name in enumerate(images.images)}
"""The name of a conditioning image -> its role, and its index there."""
IMAGE_NAMES = {place: name for name, place in IMAGE_PLACES.items()}
