"""Start-time fair queueing: the order of plain round robin, bounds of its fairness, batches, weights, cancelling."""

from __future__ import annotations

from collections import defaultdict
from fractions import Fraction
from itertools import combinations, pairwise
from threading import Barrier, Thread

import pytest
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext
from hypothesis import given, settings
from hypothesis import strategies as st

from accounts.models import User
from inpainting.models import Generation, Status
from inpainting.worker import run_time_estimates
from inpainting.worker.queue import fair_queue
from inpainting.worker.queue.fair_queue import start_next
from inpainting.worker.run_time_estimates import QueuePosition, positions, queue_position
from tests.support.strategies import examples
from tests.worker.queueing import UNIT, add, finish_all, order, start_all, users
from tests.worker.round_robin import round_robin


@pytest.mark.django_db
@settings(max_examples=examples(20), deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=20))
def test_equal_costs_start_in_the_rounds_of_plain_round_robin(sent_by: list[int]) -> None:
    owners = users(4)
    sent = [add(owners[index]) for index in sent_by]
    rounds, number = {}, defaultdict(int)  # type: ignore[var-annotated]
    for generation in sent:
        rounds[generation.pk] = number[generation.owner_id]
        number[generation.owner_id] += 1
    plain = list(round_robin([(field.pk, field.owner_id) for field in sent], {}))
    fair = order()
    assert [rounds[pk] for pk in fair] == [rounds[pk] for pk in plain]  # of one round, the older ones first
    assert [thread.pk for thread in start_all()] == fair


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["send", "send", "send batch", "start", "start", "start"]),
        st.integers(0, 2),
        st.integers(1, 8),
    ),
    min_size=5,
    max_size=40,
)
WEIGHTS = st.lists(st.integers(1, 4), min_size=3, max_size=3)


class Fairness:
    """Checks each start against the bound of Goyal, Vin and Cheng, over every interval in which two users wait."""

    def __init__(self, weights: list[int], *, batches: bool) -> None:
        self.owners = users(3)
        self.weights = {owner.pk: weight for owner, weight in zip(self.owners, weights, strict=True)}
        self.batches = batches
        self.largest: dict[int, int] = defaultdict(int)
        self.leads: dict[tuple[int, int], list[Fraction]] = {}
        """Of two users who both wait: the lead of the first after each start, since both began to wait."""

    def send(self, index: int, cost: int, *, in_batch: bool) -> None:
        owner = self.owners[index]
        add(owner, cost * UNIT, weight=self.weights[owner.pk], in_batch=in_batch)
        self.largest[owner.pk] = max(self.largest[owner.pk], cost * UNIT)

    def start(self) -> bool:
        waiting = set(Generation.objects.filter(status=Status.QUEUED).values_list("owner", flat=True))
        generation = start_next()
        if generation is None:
            return False
        for pair in combinations(self.weights, 2):
            if not waiting.issuperset(pair):
                self.leads.pop(pair, None)
                continue
            leads = self.leads.setdefault(pair, [Fraction(0)])
            served = Fraction(generation.cost, self.weights[generation.owner_id])
            sign = {pair[0]: 1, pair[1]: -1}.get(generation.owner_id, 0)
            leads.append(leads[-1] + sign * served)
            bound = sum(Fraction(self.largest[owner], self.weights[owner]) for owner in pair)
            assert max(leads) - min(leads) <= bound
        return True


@pytest.mark.django_db
@settings(max_examples=examples(20), deadline=None)
@given(ACTIONS, WEIGHTS)
def test_the_served_costs_of_two_waiting_users_differ_by_their_largest_costs(
    actions: list[tuple[str, int, int]], weights: list[int]
) -> None:
    check(Fairness(weights, batches=False), actions, equal_costs=False)


@pytest.mark.django_db
@settings(max_examples=examples(20), deadline=None)
@given(ACTIONS, WEIGHTS)
def test_batches_that_give_way_cost_other_users_nothing(
    actions: list[tuple[str, int, int]], weights: list[int]
) -> None:
    check(Fairness(weights, batches=True), actions, equal_costs=True)


def check(fairness: Fairness, actions: list[tuple[str, int, int]], *, equal_costs: bool) -> None:
    for action, owner, cost in actions:
        if action == "start":
            fairness.start()
        else:
            in_batch = fairness.batches and action == "send batch"
            fairness.send(owner, 1 if equal_costs else cost, in_batch=in_batch)
    while fairness.start():
        pass


@pytest.mark.django_db
@settings(max_examples=examples(20), deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(1, 6)), min_size=1, max_size=8), st.integers(1, 12))
def test_a_user_with_many_batches_has_one_turn_in_each_round(
    sent_by_alice: list[tuple[bool, int]], sent_by_bob: int
) -> None:
    alice, bob = users(2)
    sent = [add(alice, in_batch=in_batch) for in_batch, number in sent_by_alice for _ in range(number)]
    sent += [add(bob) for _ in range(sent_by_bob)]
    owners = {field.pk: field.owner_id for field in sent}
    plain = [owners[pk] for pk in round_robin(owners.items(), {})]
    assert [thread.owner_id for thread in start_all()] == plain


@pytest.mark.django_db
@settings(max_examples=examples(20), deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(1, 8)), max_size=25))
def test_the_slots_of_one_user_never_overlap(sent: list[tuple[bool, int]]) -> None:
    alice, bob = users(2)
    add(bob)
    for in_batch, cost in sent:
        add(alice, cost * UNIT, in_batch=in_batch)
    slots: list[tuple[int, int]] = sorted(Generation.objects.filter(owner=alice).values_list("start_tag", "finish_tag"))
    assert all(end <= start for (_, end), (start, _) in pairwise(slots))


@pytest.mark.django_db
def test_a_single_generation_does_not_wait_for_a_batch_and_every_second_slot_stays_the_batchs(
    alice: User, bob: User
) -> None:
    batch = [add(alice, in_batch=True) for _ in range(6)]
    bobs = [add(bob) for _ in range(4)]
    first, second = add(alice), add(alice)
    owners = [batch, bobs, [first, second]]
    started = list(start_all())
    kinds = [next(index for index, some in enumerate(owners) if thread in some) for thread in started]
    assert [set(kinds[at : at + 2]) for at in range(0, 8, 2)] == [{1, 2}, {0, 1}] * 2  # alice and bob still take turns
    assert set(kinds[8:]) == {0}
    assert sorted(thread.pk for thread in started) == sorted(request.pk for some in owners for request in some)


@pytest.mark.django_db
def test_a_user_with_twice_the_weight_is_served_twice_as_often(alice: User, bob: User) -> None:
    for _ in range(8):
        add(alice, weight=2)
        add(bob)
    started = [start_next() for _ in range(9)]
    assert sum(thread.owner == alice for thread in started if thread) == 6


@pytest.mark.django_db
def test_an_idle_user_gathers_no_credit_and_in_an_idle_queue_all_users_are_equal(alice: User, bob: User) -> None:
    for _ in range(20):
        add(alice)
    assert len(list(start_all())) == 20
    finish_all()
    bobs = [add(bob) for _ in range(4)]
    alices = add(alice)
    assert order()[:2] == [bobs[0].pk, alices.pk]


@pytest.mark.django_db
def test_a_requeued_generation_keeps_its_tag(alice: User, bob: User) -> None:
    add(alice)
    others = [add(bob) for _ in range(3)]
    requeued = start_next()
    assert requeued is not None
    tag = requeued.start_tag
    assert [start_next(), start_next()] == others[:2]
    assert requeued.release()
    assert (requeued.start_tag, order()[0]) == (tag, requeued.pk)


@pytest.mark.django_db
@pytest.mark.parametrize("newest_first", [False, True])
def test_cancelled_generations_leave_no_trace(alice: User, bob: User, *, newest_first: bool) -> None:
    for _ in range(5):
        add(bob)
    cancelled = [add(alice) for _ in range(10)]
    for generation in reversed(cancelled) if newest_first else cancelled:
        assert generation.cancel()
    new = add(alice)
    assert order().index(new.pk) <= 1


@pytest.mark.django_db
def test_cancelling_does_not_undo_what_was_served(alice: User, bob: User) -> None:
    add(alice, 5 * UNIT)
    for _ in range(8):
        add(bob)
    assert start_next() is not None
    add(alice).cancel()
    new = add(alice)
    assert order().index(new.pk) == 6  # bob's sixth, which has the same tag, is older


@pytest.mark.django_db(transaction=True)
def test_generations_of_one_user_that_are_accepted_at_once_have_slots_of_their_own(alice: User) -> None:
    barrier = Barrier(4)

    def accept() -> None:
        barrier.wait()
        for _ in range(5):
            add(alice)
        connections.close_all()

    threads = [Thread(target=accept) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    tags = Generation.objects.order_by("start_tag").values_list("start_tag", flat=True)
    assert list(tags) == [number * UNIT for number in range(20)]


@pytest.mark.django_db(transaction=True)
def test_workers_that_claim_at_once_start_each_generation_once(alice: User, bob: User) -> None:
    for _ in range(10):
        add(alice)
        add(bob)
    started: list[Generation] = []

    def claim() -> None:
        started.extend(start_all())
        connections.close_all()

    threads = [Thread(target=claim) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(started) == len({thread.pk for thread in started}) == 20


@pytest.mark.django_db
def test_a_position_is_counted_up_to_a_limit(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_time_estimates, "EXACT_POSITIONS", 3)
    waiting = [add(alice, likely_seconds=2.0) for _ in range(6)]
    every = [queue_position(job) for job in waiting]
    beyond = QueuePosition(4, 8.0, is_minimum=True)
    assert every == [QueuePosition(index, 2.0 * index) for index in (1, 2, 3)] + [beyond] * 3
    assert [positions().of(job.pk) for job in waiting] == every


@pytest.mark.django_db
def test_every_query_of_the_queue_finds_its_rows_in_an_index(alice: User) -> None:
    for _ in range(3):
        add(alice)
    last = add(alice)
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET LOCAL enable_seqscan = off")  # which is faster in small tables
        with CaptureQueriesContext(connection) as queries:
            queue_position(last)
            positions()
            run_time_estimates.estimator_for("quick-fill")
            start_next()
            add(alice)
        explained = 0
        for query in queries:
            if query["sql"].startswith(("SELECT", "UPDATE")) and "inpainting_generation" in query["sql"]:
                explain = "EXPLAIN QUERY PLAN" if connection.vendor == "sqlite" else "EXPLAIN"
                cursor.execute(f"{explain} {query['sql']}")
                plan = " / ".join(str(row[-1]) for row in cursor.fetchall())
                assert not any(slow in plan for slow in ("SCAN", "Seq Scan", "TEMP B-TREE")), f"{query['sql']}: {plan}"
                explained += 1
    assert explained >= 9


@pytest.mark.django_db
def test_a_claim_is_one_transaction_of_few_statements(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fair_queue, "_served", set())  # of this process, in which other tests ran
    add(alice)
    with CaptureQueriesContext(connection) as queries:
        start_next()
    statements = [query["sql"].split()[0] for query in queries]
    assert statements.count("SAVEPOINT") == 1, "the test's own transaction makes the claim's a savepoint"
    assert len(statements) <= (13 if connection.vendor == "postgresql" else 11)


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite reads no table where there is an index")
@pytest.mark.django_db
def test_a_slot_is_found_without_reading_the_ended_ones_where_as_many_wait(alice: User) -> None:
    first = add(alice)
    ended = [{"status": Status.SUCCEEDED, "finished_at": first.created_at}] * 500
    for fields in [*ended, *[{}] * 500]:
        facts = {"owner": alice, "source": first.source, "mask": first.mask, "number": None, "settings": first.settings}
        Generation.objects.create(engine="quick-fill", **facts, **fields)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE inpainting_generation")
        with CaptureQueriesContext(connection) as queries:
            add(alice)
        (query,) = (query["sql"] for query in queries if "next_single_tag" in query["sql"] and "U0" in query["sql"])
        cursor.execute(f"EXPLAIN {query}")
        assert "Seq Scan on inpainting_generation" not in str(cursor.fetchall())


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite sorts nothing where an index has the order")
@pytest.mark.django_db
def test_the_queue_is_not_sorted_where_more_wait_than_the_database_has_counted(alice: User) -> None:
    first = add(alice)
    facts = {"owner": alice, "source": first.source, "mask": first.mask, "number": None, "settings": first.settings}
    ended = {"engine": "quick-fill", "status": Status.SUCCEEDED, "finished_at": first.created_at}
    Generation.objects.bulk_create([Generation(**facts, **ended) for _ in range(2000)])
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE inpainting_generation")
        Generation.objects.bulk_create([Generation(**facts, engine="quick-fill", start_tag=tag) for tag in range(500)])
        with CaptureQueriesContext(connection) as queries:
            queue_position(Generation.objects.filter(finished_at=None).latest("start_tag"))
            start_next()
            add(alice)
        by_index, explained = False, 0
        for query in queries:
            if query["sql"].startswith("SET LOCAL enable_sort"):
                cursor.execute(query["sql"])
                by_index = query["sql"].endswith("off")
            elif by_index:
                cursor.execute(f"EXPLAIN {query['sql']}")
                plan = " / ".join(row[0] for row in cursor.fetchall())
                assert "Sort" not in plan, f"{query['sql']}: {plan}"
                explained += 1
    assert explained >= 4  # of a position, of a claim and of a slot
