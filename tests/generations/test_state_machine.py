"""Random orders of events of a generation: submit, start, heartbeat, commit, late commit, cancel, crash."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone
from hypothesis import HealthCheck, settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from accounts.models import User
from inpainting.models import GeneratedImage, Generation, Mask, SourceImage, Status
from inpainting.models.queued_work import MAX_ATTEMPTS
from inpainting.worker.queue import fair_queue


class GenerationLifeCycle(RuleBasedStateMachine):
    """Workers keep the generation objects that they started, also stale ones with an old fence."""

    held = Bundle("held")

    def __init__(self) -> None:
        super().__init__()
        self.owner = User.objects.create_user(f"user-{User.objects.count()}@example.com")
        self.ends: dict[object, str] = {}

    def own_generations(self) -> list[Generation]:
        return list(Generation.objects.filter(owner=self.owner))

    @rule()
    def submit(self) -> None:
        facts = {"owner": self.owner, "byte_count": 1, "width": 1, "height": 1}
        source, mask = SourceImage.objects.create(**facts), Mask.objects.create(**facts)
        Generation.objects.create(owner=self.owner, source=source, mask=mask, engine="quick-fill", settings={})

    @rule(target=held)
    def start(self) -> Generation | None:
        for pk, _ in fair_queue.fair_order_in():
            generation = Generation.objects.get(pk=pk)
            if generation.owner == self.owner and generation.start():
                return generation
        return None

    @rule(generation=held)
    def renew_lease(self, generation: Generation | None) -> None:
        if generation is not None and generation.advance(1, 2):
            assert generation.fence == Generation.objects.get(pk=generation.pk).fence

    @rule(generation=held)
    def commit(self, generation: Generation | None) -> None:
        """Commit by the present or a former holder of the lease: only the present one may."""
        if generation is None:
            return
        present = Generation.objects.get(pk=generation.pk)
        allowed = (
            present.status == Status.RUNNING and present.fence == generation.fence and not present.cancel_requested
        )
        image = GeneratedImage(
            generation=generation, index=0, byte_count=1, width=1, height=1,
            outside_mask_changed_pixels=0, seam_score=0,
        )  # fmt: skip
        assert generation.succeed([image]) == allowed

    @rule(generation=held)
    def fail_generation(self, generation: Generation | None) -> None:
        if generation is not None:
            generation.fail(code="engine_failed", message="no")

    @rule(generation=held)
    def end_cancelled_generation(self, generation: Generation | None) -> None:
        if generation is not None:
            generation.end_cancelled()

    @rule(generation=held)
    def release_lease(self, generation: Generation | None) -> None:
        if generation is not None:
            generation.release()

    @rule(generation=held)
    def cancel(self, generation: Generation | None) -> None:
        if generation is not None:
            Generation.objects.get(pk=generation.pk).cancel()

    @rule()
    def cancel_the_newest(self) -> None:
        for generation in self.own_generations()[:1]:
            open_still = not generation.has_ended
            assert generation.cancel() == open_still

    @rule()
    def crash(self) -> None:
        """The process crashes, and the next one requeues what it ran."""
        for generation in Generation.objects.filter(owner=self.owner, status=Status.RUNNING):
            generation.requeue()

    @rule()
    def lose_the_machine(self) -> None:
        """Every worker dies, the leases expire, and the poller requeues."""
        Generation.objects.filter(owner=self.owner, status=Status.RUNNING).update(
            lease_until=timezone.now() - timedelta(hours=1)
        )
        for generation in Generation.abandoned(grace_seconds=1):
            generation.release()

    @invariant()
    def a_final_status_never_changes(self) -> None:
        for generation in self.own_generations():
            if generation.pk in self.ends:
                assert generation.status == self.ends[generation.pk]
            elif generation.has_ended:
                self.ends[generation.pk] = generation.status

    @invariant()
    def only_succeeded_generations_have_results(self) -> None:
        for generation in self.own_generations():
            assert generation.images.count() == (generation.status == Status.SUCCEEDED)
            assert (generation.finished_at is not None) == generation.has_ended

    @invariant()
    def attempts_are_bounded(self) -> None:
        for generation in self.own_generations():
            assert not (generation.status == Status.QUEUED and generation.cancel_requested)
            assert 0 <= generation.attempts <= MAX_ATTEMPTS

    def teardown(self) -> None:
        """Without further events every generation ends."""
        for _ in range(MAX_ATTEMPTS + 1):
            self.crash()
            while (generation := self.start()) is not None:
                pass
        self.crash()
        assert all(generation.has_ended for generation in self.own_generations()), generation


@pytest.mark.django_db
@pytest.mark.hypothesis
def test_every_generation_ends_exactly_once_in_any_order_of_events() -> None:
    checks = settings(
        max_examples=max(15, settings().max_examples * 3 // 10),  # 90 in the full profile
        stateful_step_count=25,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    run_state_machine_as_test(GenerationLifeCycle, settings=checks)
