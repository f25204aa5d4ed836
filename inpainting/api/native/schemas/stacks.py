"""The steps of a photo, as they are sent and answered."""

from __future__ import annotations

from typing import Annotated, Self
from uuid import UUID

from django.urls import reverse
from pydantic import Field

from inpainting.api.fields import Fields, NotBoolean, extended_by
from inpainting.api.native.schemas.base import Answer
from inpainting.api.native.schemas.bodies import File
from inpainting.api.setting_types import type_of
from inpainting.core.credentials import Verb
from inpainting.core.masks import MaskPolarity
from inpainting.core.settings_table import find_setting
from inpainting.generations import description
from inpainting.generations.stack_images import made_on_hidden, stored_image
from inpainting.generations.stacks import MAX_STEPS, PhotoStack, PhotoStep, StepChange
from inpainting.models import GeneratedImage, Status
from inpainting.models.images import StoredImage

KEY = r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/[0-9]{1,4}(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})?$"
Keys = Annotated[list[Annotated[str, Field(pattern=KEY)]], Field(max_length=MAX_STEPS)]
SEEN = "Keys of the steps that are seen, the lowest first. Two equal lists mean equal images."
MADE_ON = "The `seen` of what it was made on. Null: as before; of a new step, what is seen beneath it now."
Index = Annotated[int, Field(ge=0, le=9999), NotBoolean]


class StackForm(Fields):
    """The generation that is the highest step."""

    generation: UUID
    image: Index = Field(0, description="Which of its results, from 0.")


class StackQuery(Fields):
    image: Index = Field(0, description="Which of its results, from 0.")


class StepForm(Fields):
    generation: UUID
    image: Index = Field(0, description="Which of its results, from 0.")
    hidden: bool = False
    painted_back: UUID | None = Field(None, description="A mask of this stack; null: the whole step is seen.")
    made_on: Keys | None = Field(None, description=MADE_ON)

    def change(self) -> StepChange:
        made_on = None if self.made_on is None else tuple(self.made_on)
        return StepChange(self.generation, self.image, self.hidden, self.painted_back, made_on)


class StepsForm(Fields):
    """The steps that replace those of this revision."""

    revision: Annotated[int, Field(ge=0, le=2**53), NotBoolean] = Field(description="The one that was read.")
    steps: Annotated[list[StepForm], Field(min_length=1, max_length=MAX_STEPS)] = Field(
        description="All steps, the lowest first."
    )


class StepMaskFields(Fields):
    mask_polarity: MaskPolarity = Field(
        MaskPolarity.WHITE_REPAINTS, description="`white_repaints` reads white as painted back."
    )


class StepMaskForm(StepMaskFields):
    file: File = Field(description="PNG up to 10 MB, of the step's size; or a text, as in JSON.")


FORMAT = "png: lossless, in the photo's mode and depth. Others are lossy copies."


@extended_by({"format": (type_of(find_setting("output_format")) | None, Field(None, description=FORMAT))})
class StackImageQuery(Fields):
    below: UUID | None = Field(None, description="Only what lies beneath the step of this generation.")


class StepMaskDocument(Answer):
    id: UUID
    url: str

    @classmethod
    def of(cls, stack: UUID, mask: UUID) -> Self:
        return cls(id=mask, url=reverse("stack-mask", args=[stack, mask]))


class StepDocument(Answer):
    generation: UUID
    image: int = Field(description="Which of its results, from 0.")
    hidden: bool
    painted_back: UUID | None = Field(description="The mask where it shows what lies beneath; null: nowhere.")
    made_on: list[str] = Field(description="The `seen` of what it was made on.")
    made_on_hidden: bool = Field(
        description="Its mask touches a step that it was made on and that is hidden, painted back or replaced since."
    )
    changes_size: bool = Field(description="It can be hidden only together with all after it.")
    verb: Verb
    status: Status
    engine: str
    prompt: str = Field(description="Empty where the engine did not read it.")
    window: list[int] | None = Field(description="Left, top, right and bottom of what the engine saw.")
    width: int = Field(description="Of the result.")
    height: int
    url: str | None = Field(description="The result; null while it is not painted.")
    thumbnail: str | None

    @classmethod
    def of(cls, step: PhotoStep, *, made_on_hidden: bool) -> Self:
        generation, result = step.generation, step.result
        url = None if result is None else description.image_url(result)
        return cls(
            generation=generation.pk,
            image=step.image,
            hidden=step.is_hidden,
            painted_back=None if step.painted_back is None else step.painted_back.pk,
            made_on=list(step.made_on),
            made_on_hidden=made_on_hidden,
            changes_size=step.changes_size,
            verb=generation.verb,
            status=Status(generation.status),
            engine=generation.engine,
            prompt="" if "prompt" in generation.ignored else generation.prompt,
            window=None if result is None else result.report.get("window"),
            width=generation.result_size.width,
            height=generation.result_size.height,
            url=url,
            thumbnail=url and f"{url}thumbnail/",
        )


class PhotoDocument(Answer):
    url: str
    thumbnail: str
    name: str = Field(description="Name of the uploaded file; empty without one.")


class StackImageDocument(Answer):
    url: str | None = Field(description="Null where it has to be flattened and the stack is not stored.")
    is_flattened: bool = Field(description="False: it is a result, or the photo, as it is stored.")


class StackDocument(Answer):
    id: UUID | None = Field(description="Null: it is not stored. POST /api/stacks/ stores it.")
    revision: int = Field(description="One more with every change; 0: not stored.")
    photo: PhotoDocument = Field(description="What lies beneath all steps.")
    steps: list[StepDocument] = Field(description="The lowest first.")
    seen: list[str] = Field(description=SEEN)
    image: StackImageDocument = Field(description="What the steps show together.")

    @classmethod
    def of(cls, stack: PhotoStack) -> Self:
        source = description.input_url(stack.steps[0].generation, "source") or ""
        outdated = made_on_hidden(stack)
        return cls(
            id=None if stack.row is None else stack.row.pk,
            revision=0 if stack.row is None else stack.row.revision,
            photo=PhotoDocument(url=source, thumbnail=f"{source}thumbnail/", name=stack.photo.name),
            steps=[StepDocument.of(step, made_on_hidden=step.generation.pk in outdated) for step in stack.steps],
            seen=list(stack.seen),
            image=image_document(stack, source),
        )


def image_document(stack: PhotoStack, source: str) -> StackImageDocument:
    """source: the link to the photo."""
    stored: StoredImage | None = stored_image(stack)
    if stored is None:
        flattened = None if stack.row is None else reverse("stack-image", args=[stack.row.pk])
        return StackImageDocument(url=flattened, is_flattened=True)
    url = description.image_url(stored) if isinstance(stored, GeneratedImage) else source
    return StackImageDocument(url=url, is_flattened=False)
