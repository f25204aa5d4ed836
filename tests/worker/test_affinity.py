"""A worker prefers generations whose model it has loaded, within a bound."""

from __future__ import annotations

import pytest
from django.contrib.auth import get_user_model
from hypothesis import given, settings
from hypothesis import strategies as st

from accounts.models import User
from inpainting.engines import registry
from inpainting.models import Generation, Status
from inpainting.worker.queue.fair_queue import CANDIDATES, OVERTAKEN_SLOTS, start_next
from tests.support.strategies import examples
from tests.worker.queueing import UNIT, add, order, users


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The models in the memory of this process."""
    models: set[str] = set()
    monkeypatch.setattr(registry, "loaded_models", lambda queue: models)
    return models


def add_for(owner: User, model: str, cost: int = UNIT) -> Generation:
    generation = add(owner, cost)
    generation.settings = {**generation.settings, "model": model}
    generation.save(update_fields=["settings"])
    return generation


@pytest.fixture
def owners(db: None) -> list[User]:
    return [get_user_model().objects.create_user(f"user-{index}@example.com") for index in range(4)]


def test_a_loaded_model_comes_first_and_nothing_is_lost(owners: list[User], loaded: set[str]) -> None:
    sent = [add_for(owner, model) for owner, model in zip(owners, "abab", strict=True)]
    loaded.add("b")
    assert [start_next() for _ in sent] == [sent[1], sent[3], sent[0], sent[2]]
    assert start_next() is None


def test_the_order_stays_where_nothing_or_the_first_is_loaded(owners: list[User], loaded: set[str]) -> None:
    sent = [add_for(owner, model) for owner, model in zip(owners, "abab", strict=True)]
    assert start_next() == sent[0]
    loaded |= {"b", "a"}
    assert [start_next() for _ in sent[1:]] == sent[1:]


def test_the_first_in_line_is_overtaken_within_the_bound_only(owners: list[User], loaded: set[str]) -> None:
    first = add_for(owners[0], "a")
    others = [add_for(owners[1], "b") for _ in range(OVERTAKEN_SLOTS + 3)]
    loaded.add("b")
    started = [start_next() for _ in range(OVERTAKEN_SLOTS + 2)]
    assert started == [*others[: OVERTAKEN_SLOTS + 1], first]


def test_users_who_come_later_do_not_overtake_forever(owners: list[User], loaded: set[str]) -> None:
    first = add_for(owners[0], "a")
    loaded.add("b")
    for index in range(OVERTAKEN_SLOTS + 2):
        add_for(get_user_model().objects.create_user(f"later-{index}@example.com"), "b")
        if start_next() == first:
            return
    pytest.fail("The first in line still waits.")


def test_a_claim_looks_at_a_bounded_number_of_generations(owners: list[User], loaded: set[str]) -> None:
    sent = [add_for(owners[0], "a", UNIT * CANDIDATES)]
    sent += [add_for(owners[1], "a", 1) for _ in range(CANDIDATES)]
    add_for(owners[1], "b", 1)
    loaded.add("b")
    assert start_next() == sent[0]


def test_a_cancelled_generation_does_not_overtake(owners: list[User], loaded: set[str]) -> None:
    first, cancelled = add_for(owners[0], "a"), add_for(owners[1], "b")
    Generation.objects.filter(pk=cancelled.pk).update(cancel_requested=True)
    loaded.add("b")
    assert start_next() == first


@pytest.mark.django_db
@settings(max_examples=examples(20), deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 4), st.sampled_from("abc")), min_size=1, max_size=25))
def test_each_start_keeps_the_bound(sent: list[tuple[int, int, str]]) -> None:
    owners = users(3)
    for owner, cost, model in sent:
        add_for(owners[owner], model, cost * UNIT)
    last = "a"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "loaded_models", lambda queue: {last})
        for _ in sent:
            first = Generation.objects.get(pk=order()[0])
            started = start_next()
            assert started is not None
            assert started.start_tag <= first.start_tag + OVERTAKEN_SLOTS * (first.finish_tag - first.start_tag)
            last = started.settings["model"]
    assert not Generation.objects.filter(status=Status.QUEUED).exists()
