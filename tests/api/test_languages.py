"""Messages of the native API follow the account or the client; rows and the messages of the contract are English."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
from django.test import Client
from django.utils import translation
from PIL import Image

from accounts.models import ApiKey, User
from inpainting.core.sentences import Sentence, parts_of, plural_sentence, pmark, restored, sentence
from inpainting.models import Generation
from inpainting.translation import translated
from tests.api.bodies import upload
from tests.conftest import png

GERMAN = {"accept-language": "de"}


def test_a_sentence_is_english_text_that_can_be_translated() -> None:
    text = sentence("There is no engine called “{name}”; the engines are: {names}.", name="x", names="a, b")
    assert text == "There is no engine called “x”; the engines are: a, b."
    assert translated(text) == text
    with translation.override("de"):
        assert translated(text) == "Es gibt keine Engine namens „x“; es gibt: a, b."
        assert translated("") == ""


def test_a_value_may_be_a_sentence_and_braces_in_values_stay() -> None:
    inner = pmark("the steps", "the model's")
    with translation.override("de"):
        assert translated(sentence("{name}: {problem}", name="{x}", problem=inner)) == "{x}: die des Modells"


def test_plural_sentences_choose_by_count() -> None:
    assert plural_sentence("{count} photo", "{count} photos", count=1) == "1 photo"
    assert plural_sentence("{count} photo", "{count} photos", count=3) == "3 photos"


def test_a_stored_text_becomes_the_sentence_that_it_was() -> None:
    text = sentence("{name} is refused: {message}", name="a", message=sentence("it has no files."))
    again = restored(str(text), parts_of([text, "plain"]))
    assert isinstance(again, Sentence)
    assert (again, again.template) == (text, text.template)
    assert restored("plain", parts_of([text])) == "plain" == restored("plain", None)


def test_errors_follow_the_client_and_then_the_account_of_the_key(alice: User) -> None:
    _, key = ApiKey.issue(alice)
    headers = {"authorization": f"Bearer {key}"}

    def answer(**more: str) -> tuple[str, str]:
        response = Client().post("/api/plan/", {"steps": "many"}, "application/json", headers={**headers, **more})
        assert response.status_code == 400, response.text
        return response.json()["message"], response.headers["Vary"]

    english, vary = answer()
    assert english == "steps: A valid integer is required."
    assert "Accept-Language" in vary
    assert answer(**GERMAN)[0] == "steps: Eine ganze Zahl wird gebraucht."
    User.objects.filter(pk=alice.pk).update(language="de")
    assert answer()[0] == "steps: Eine ganze Zahl wird gebraucht."


def test_words_with_several_meanings_are_told_apart() -> None:
    size, ratio = pmark("a size", "none"), pmark("a ratio", "none")
    with translation.override("de"):
        assert (translated(size), translated(ratio)) == ("keine", "keines")
    stored = restored("none", parts_of([ratio]))
    with translation.override("de"):
        assert translated(stored) == "keines"


def test_a_plan_warns_in_the_language_of_the_client(alices_program: Client) -> None:
    palette = io.BytesIO()
    Image.new("P", (64, 48), 1).save(palette, "PNG")
    mask = np.full((48, 64), 255, np.uint8)
    mask[8:24, 8:24] = 0

    def answer(**headers: str) -> dict[str, Any]:
        sent = {"image": upload(palette.getvalue()), "mask": upload(png(mask)), "prompt": ""}
        response = alices_program.post("/api/plan/", sent, headers=headers)
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer

    assert answer()["warnings"] == ["The image has a palette; it is kept in true colour."]
    german = answer(**GERMAN)
    assert german["warnings"] == ["Bild: Die Datei hat eine Palette; sie wird in Echtfarben behalten."]
    assert german["engine_reason"].startswith("Es gibt keinen Prompt, daher wird der maskierte Bereich")


def test_messages_of_the_contract_stay_english(alices_program: Client) -> None:
    response = alices_program.post("/api/img2img", {}, headers=GERMAN)
    assert response.json()["message"] == "No image file provided"


def test_a_row_keeps_the_english_text_and_is_shown_in_the_language(
    alice: User, generate: Callable[..., Generation]
) -> None:
    generation = generate(alice, run=False)
    assert generation.start()
    message = sentence("The model failed ({name}); see the server's log.", name="X")
    assert generation.fail(code="model_failed", message=message)
    row = Generation.objects.get(pk=generation.pk)
    assert row.error_message == "The model failed (X); see the server's log."
    client = Client()
    client.force_login(alice)
    answer = client.get(f"/api/generations/{row.pk}/", headers=GERMAN).json()
    assert answer["error"]["message"] == "Das Modell ist gescheitert (X); siehe das Protokoll des Servers."
    assert client.get(f"/api/generations/{row.pk}/").json()["error"]["message"] == row.error_message
