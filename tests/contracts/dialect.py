"""What every dialect must do, in its own words: a subclass sends a request and knows the shape of an error."""

from __future__ import annotations

import json
from functools import partial
from typing import Any, ClassVar

import numpy as np
import pytest
from django.test import Client
from numpy.typing import NDArray
from pytest_django import Settings

from accounts.models import ApiKey, Scope, User
from dreamlayer_site.server.body_limit import excess_error, takes_images
from dreamlayer_site.server.refusals import refusal
from inpainting.core.codecs import decode_image
from inpainting.generations import submit
from inpainting.models import Generation, Status, UserLimits
from tests.conftest import png


class DialectContract:
    """Requests of one service without a diffusion model, so that quick-fill paints."""

    dialect: ClassVar[str]
    """Its name, which is the `service` of its generations."""
    failure_status: ClassVar[int] = 500
    bad_image_status: ClassVar[int] = 400
    """For a file that is no image, and for one with too many pixels."""
    cancelled_status: ClassVar[int] = 409
    """409 has the shape of errors; the services with another status describe the ended task."""
    unknown_model_statuses: ClassVar[range] = range(400, 500)
    key_statuses: ClassVar[tuple[int, int, int]] = (401, 401, 403)
    """Without a key, with a wrong one, and with one that lacks the scope."""
    below_the_prefix: ClassVar[str]
    """A path below its prefix that leads nowhere."""

    def send(self, client: Client, photo: bytes, mask: bytes, *, seed: int = 7, **headers: str) -> Any:
        """Ask for an inpainting. mask: a PNG whose white is repainted."""
        raise NotImplementedError

    def send_with_model(self, client: Client, photo: bytes, mask: bytes, name: str) -> Any:
        """Ask for an inpainting by the model of this name; None where requests do not name a model."""
        return None

    def result(self, response: Any) -> object:
        """What names the result of a response that is complete."""
        raise NotImplementedError

    def check_error(self, response: Any, status: int) -> None:
        """Check the status of a response, and that it has the shape of the service's errors."""
        raise NotImplementedError

    def program(self, key: str) -> Client:
        return Client(headers={"X-API-Key": key} if key else {})

    @pytest.fixture
    def white(self, hole: NDArray[np.uint8]) -> bytes:
        return png(hole)

    def test_what_the_mask_marks_is_repainted_and_nothing_else(
        self, alices_key: str, photo_png: bytes, white: bytes
    ) -> None:
        self.result(self.send(self.program(alices_key), photo_png, white))
        generation = Generation.objects.get()
        assert generation.mask is not None
        marked = np.asarray(generation.mask.read().pixels, np.uint8) > 127
        sent = np.asarray(decode_image(white).image.pixels, np.uint8) > 127
        assert marked.mean() == pytest.approx(sent.mean(), rel=0.2)
        assert marked[marked.shape[0] * 30 // 64, marked.shape[1] * 50 // 96, 0], "the middle of the hole"
        assert generation.images.get().outside_mask_changed_pixels == 0

    def test_a_file_that_is_no_image_is_refused(self, alices_key: str, photo_png: bytes, white: bytes) -> None:
        self.check_error(self.send(self.program(alices_key), photo_png[:300], white), self.bad_image_status)
        assert not Generation.objects.exists()

    def test_an_image_with_too_many_pixels_is_refused(
        self, alices_key: str, photo_png: bytes, white: bytes, settings: Settings
    ) -> None:
        settings.MAX_MEGAPIXELS = 0.001
        self.check_error(self.send(self.program(alices_key), photo_png, white), self.bad_image_status)
        assert not Generation.objects.exists()

    def test_a_generation_that_is_cancelled_meanwhile_is_no_result(
        self, alices_key: str, photo_png: bytes, white: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(submit, "notify_workers", lambda queue: Generation.objects.get().cancel())
        response = self.send(self.program(alices_key), photo_png, white)
        assert response.status_code == self.cancelled_status, response.content
        if self.cancelled_status == DialectContract.cancelled_status:
            self.check_error(response, self.cancelled_status)
        assert Generation.objects.get().status == Status.CANCELLED

    def test_an_idempotency_key_is_of_one_account(
        self, alices_key: str, bob: User, photo_png: bytes, white: bytes
    ) -> None:
        headers = dict[str, Any]({"Idempotency-Key": "one"})
        for key in (alices_key, ApiKey.issue(bob)[1]):
            self.result(self.send(self.program(key), photo_png, white, **headers))
        owners = set(Generation.objects.values_list("owner__email", flat=True))
        assert owners == {"alice@example.com", bob.email}

    def test_a_repeated_idempotency_key_paints_once(self, alices_key: str, photo_png: bytes, white: bytes) -> None:
        program, headers = self.program(alices_key), dict[str, Any]({"Idempotency-Key": "one"})
        first, again = (self.result(self.send(program, photo_png, white, **headers)) for _ in range(2))
        assert first == again
        assert [generation.service for generation in Generation.objects.all()] == [self.dialect]
        self.check_error(self.send(program, photo_png, white, seed=8, **headers), 422)

    def test_where_diffusion_is_required_nothing_else_paints(
        self, alices_key: str, photo_png: bytes, white: bytes, settings: Settings
    ) -> None:
        settings.COMPAT_REQUIRE_DIFFUSION = True
        self.check_error(self.send(self.program(alices_key), photo_png, white), 503)
        assert not Generation.objects.exists()

    def test_the_server_chooses_for_an_unknown_model_where_the_site_lets_it_and_says_so(
        self, alices_key: str, photo_png: bytes, white: bytes, settings: Settings
    ) -> None:
        program = self.program(alices_key)
        refused = self.send_with_model(program, photo_png, white, "midjourney")
        if refused is None:
            pytest.skip("its requests name no model")
        assert refused.status_code in self.unknown_model_statuses
        settings.COMPAT_ANY_MODEL = [self.dialect]
        self.result(self.send_with_model(program, photo_png, white, "midjourney"))
        (warning,) = [text for text in Generation.objects.get().warnings if "midjourney" in text]
        assert "the server chose" in warning

    def test_a_mask_over_everything_needs_a_model(self, alices_key: str, photo_png: bytes) -> None:
        everything = png(np.full((64, 96), 255, np.uint8))
        self.check_error(self.send(self.program(alices_key), photo_png, everything), 503)

    def test_a_limit_that_is_reached_is_a_429(
        self, alice: User, alices_key: str, photo_png: bytes, white: bytes
    ) -> None:
        UserLimits.objects.create(user=alice, per_minute=1)
        program = self.program(alices_key)
        self.result(self.send(program, photo_png, white))
        refused = self.send(program, photo_png, white)
        self.check_error(refused, 429)
        assert int(refused["Retry-After"]) > 0

    def test_a_body_that_is_too_large_is_refused_in_its_shape(
        self, alices_key: str, photo_png: bytes, white: bytes
    ) -> None:
        path = self.send(self.program(alices_key), photo_png, white).request["PATH_INFO"]
        assert takes_images(path)
        refused: Any = refusal(excess_error(path, 1), path, origin="")
        refused.json = partial(json.loads, refused.content)  # as the responses of the test client have it
        self.check_error(refused, 413)

    def test_a_failure_does_not_quote_the_exception(
        self, alices_key: str, photo_png: bytes, white: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def broken(*args: object, **kwargs: object) -> None:
            raise RuntimeError("secret path /here")

        monkeypatch.setattr("inpainting.worker.run.paint_each", broken)
        response = self.send(self.program(alices_key), photo_png, white)
        assert response.status_code == self.failure_status
        assert Generation.objects.get().status == Status.FAILED
        assert "secret" not in response.content.decode()

    def test_a_key_with_the_scope_is_needed(self, alice: User, photo_png: bytes, white: bytes) -> None:
        keys = ("", "wrong", ApiKey.issue(alice, scopes=[Scope.READ])[1])
        for key, status in zip(keys, self.key_statuses, strict=True):
            self.check_error(self.send(self.program(key), photo_png, white), status)
        assert not Generation.objects.exists()

    def test_a_path_that_leads_nowhere_is_a_404_in_its_shape(self, alices_key: str) -> None:
        self.check_error(self.program(alices_key).get(self.below_the_prefix), 404)
