"""The totals of each owner equal the sums over the rows, whatever changes the rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command
from django.db import connection, models
from django.db.migrations.loader import MigrationLoader
from django.db.models import F, Sum
from django.utils import timezone

from accounts.models import User
from inpainting.accounting.limits import stored_bytes
from inpainting.database import owner_totals
from inpainting.generations import history
from inpainting.generations.delete import delete_account
from inpainting.generations.retention import sweep
from inpainting.models import (
    Analysis,
    AnalysisMask,
    DraftImage,
    GeneratedImage,
    Generation,
    Mask,
    OwnerTotals,
    ReferenceImage,
    SourceImage,
    Stack,
    StackShare,
    StepMask,
    UploadedImage,
)
from inpainting.models.owner_totals import COUNTERS
from tests.web.everything import with_everything

SIZES = F("byte_count")
ALL_SIZES = F("byte_count") + F("hidden_byte_count") + F("copy_byte_count")
OWNERS: dict[type[models.Model], tuple[str, Any]] = {
    **dict.fromkeys(
        (SourceImage, Mask, ReferenceImage, UploadedImage, DraftImage, StepMask, StackShare, Analysis),
        ("owner", SIZES),
    ),
    AnalysisMask: ("analysis__owner", SIZES),
    GeneratedImage: ("generation__owner", ALL_SIZES),
}
"""Model of stored files -> the lookup of its owner, and the bytes of a row."""
WHEN = timezone.now()
IMAGE = {"sha256": "0" * 64, "byte_count": 100, "width": 8, "height": 8}


def summed(user: User) -> dict[str, int]:
    """The totals as sums over the rows."""
    mine = Generation.objects.filter(owner=user)
    ran = mine.values_list("started_at", "finished_at")
    return {
        "stored_bytes": sum(
            model._default_manager.filter(**{owner: user}).aggregate(n=Sum(files))["n"] or 0
            for model, (owner, files) in OWNERS.items()
        ),
        "generations": mine.count(),
        "listed": history.for_user(user).count(),
        **{
            f"listed_{status}": history.for_user(user).filter(status=status).count()
            for status in ("succeeded", "failed", "cancelled")
        },
        "failed": mine.filter(status="failed").count(),
        **{verdict: mine.filter(verdict=verdict).count() for verdict in ("fine", "attention", "removed")},
        "run_milliseconds": sum(
            round((finished - started).total_seconds() * 1000) for started, finished in ran if started and finished
        ),
    }


def totals(user: User) -> dict[str, int]:
    return OwnerTotals.of([user.pk])[user.pk]


@pytest.fixture
def one_of_each(alice: User) -> dict[type[models.Model], Any]:
    """A row of every model that is counted, with what it refers to."""
    source = SourceImage.objects.create(owner=alice, **IMAGE)
    mask = Mask.objects.create(owner=alice, **IMAGE)
    generation = Generation.objects.create(owner=alice, source=source, mask=mask, engine="quick-fill", settings={})
    analysis = Analysis.objects.create(owner=alice, cost=1, task="segment", expires_at=WHEN, **IMAGE)
    about = {"outside_mask_changed_pixels": 0, "seam_score": 0.0, "hidden_byte_count": 7, "copy_byte_count": 3}
    return {
        SourceImage: source,
        Mask: mask,
        Generation: generation,
        GeneratedImage: GeneratedImage.objects.create(generation=generation, index=0, **about, **IMAGE),
        ReferenceImage: ReferenceImage.objects.create(owner=alice, **IMAGE),
        UploadedImage: UploadedImage.objects.create(owner=alice, expires_at=WHEN, **IMAGE),
        DraftImage: DraftImage.objects.create(owner=alice, **IMAGE),
        StepMask: StepMask.objects.create(owner=alice, **IMAGE),
        StackShare: StackShare.objects.create(
            owner=alice, stack=Stack.objects.create(owner=alice), source=source, expires_at=WHEN, **IMAGE
        ),
        Analysis: analysis,
        AnalysisMask: AnalysisMask.objects.create(analysis=analysis, index=0, **IMAGE),
    }


def copies_of(row: Any, many: int) -> Iterator[Any]:
    """Unsaved copies with keys of their own."""
    for number in range(1, many + 1):
        values = {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields}
        values |= {"id": None, "number": None} if "number" in values else {"id": None}
        values |= {name: f"{number:064}" for name in ("sha256",) if name in values}
        values |= {name: number for name in ("index",) if name in values}
        del values["id"]
        yield type(row)(**values)


@pytest.mark.parametrize("model", [*OWNERS, Generation], ids=lambda model: model.__name__)
def test_each_table_is_counted_however_it_changes(
    alice: User, bob: User, one_of_each: dict[type[models.Model], Any], model: Any
) -> None:
    row, start = one_of_each[model], totals(alice)
    assert start == summed(alice)
    assert start["stored_bytes"] == len(OWNERS) * 100 + 10
    model._default_manager.bulk_create(list(copies_of(row, 3)))
    more = totals(alice)
    assert more == summed(alice) != start
    extra = model._default_manager.exclude(pk=row.pk)
    if model is not Generation:
        extra.update(byte_count=F("byte_count") * 5)
        assert totals(alice) == summed(alice) != more
        row.byte_count = 1
        row.save()
        assert totals(alice) == summed(alice)
    if (model in OWNERS and OWNERS[model][0] == "owner") or model is Generation:
        extra.update(owner=bob)
        assert totals(alice) == summed(alice)
        assert totals(bob) == summed(bob) != dict.fromkeys(COUNTERS, 0)
    extra._raw_delete("default")
    assert (totals(alice), totals(bob)) == (summed(alice), summed(bob))
    Generation.objects.all().delete()  # with its images
    for other in OWNERS:
        other._default_manager.all().delete()
    assert totals(alice) == dict.fromkeys(COUNTERS, 0)


def test_each_state_of_a_generation_is_counted(alice: User, one_of_each: dict[type[models.Model], Any]) -> None:
    mine = Generation.objects.filter(owner=alice)
    mine.bulk_create(list(copies_of(one_of_each[Generation], 4)))
    changes: list[dict[str, Any]] = [
        {"status": "succeeded"},
        {"status": "cancelled"},
        {"status": "running", "started_at": WHEN},
        {"status": "failed", "finished_at": WHEN + timedelta(seconds=2.5)},
        {"verdict": "attention"},
        {"verdict": "fine"},
        {"deleted_at": WHEN},
        {"verdict": "removed"},
        {"deleted_at": None},
        {"status": "queued", "started_at": None, "finished_at": None, "verdict": ""},
    ]
    seen = [totals(alice)]
    for change in changes:
        mine.update(**change)
        assert totals(alice) == summed(alice)
        seen.append(totals(alice))
    assert seen[4]["run_milliseconds"] == 5 * 2500
    assert {name for counted in seen for name in COUNTERS if counted[name] != seen[0][name]} == {*COUNTERS[2:]}
    assert seen[-1] == seen[0]


def test_everything_of_a_user_is_counted_until_the_account_is_deleted(
    alice: User, bob: User, generate: Callable[..., Generation], batch_of: Any, photo: Any
) -> None:
    for user in (alice, bob):
        with_everything(user, generate, batch_of, photo)
        assert totals(user) == summed(user)
    assert OwnerTotals.of_all()["stored_bytes"] == stored_bytes(alice) + stored_bytes(bob) > 0
    pk = alice.pk
    delete_account(alice)
    assert OwnerTotals.of([pk])[pk] == dict.fromkeys(COUNTERS, 0)
    assert OwnerTotals.of_all()["stored_bytes"] == stored_bytes(bob)
    sweep(WHEN)
    assert set(OwnerTotals.objects.values_list("owner_id", flat=True)) == {bob.pk}


def test_every_model_with_files_that_count_has_triggers() -> None:
    """A new model of stored files is counted, or does not call the size of its files byte_count."""
    sized = {
        model.__name__
        for model in apps.get_models()
        if {"byte_count", "hidden_byte_count", "copy_byte_count"} & {field.name for field in model._meta.fields}
    }
    assert sized == {rows.model for rows in owner_totals.counted("sqlite")} - {"Generation"}
    assert {f.name for f in GeneratedImage._meta.fields if f.name.endswith("byte_count")} == set(
        next(rows for rows in owner_totals.counted("sqlite") if rows.model == "GeneratedImage").columns
    )
    assert (
        set(owner_totals.counters())
        == set(COUNTERS)
        == {field.name for field in OwnerTotals._meta.fields if field.name not in ("id", "owner_id", "slot")}
    )


def test_migrate_installs_the_triggers(db: None) -> None:
    assert owner_totals.installed().keys() == owner_totals.triggers(connection.vendor).keys()
    assert not owner_totals.install(), "there is nothing to do"


def test_migrate_to_an_earlier_schema_installs_none(db: None) -> None:
    """Triggers name columns that it does not have."""
    state = MigrationLoader(connection).project_state()
    state.remove_field("inpainting", "stackshare", "signed_byte_count")
    owner_totals.remove()
    owner_totals.install_after_migrate(apps=state.apps)
    assert not owner_totals.installed()
    owner_totals.install_after_migrate()
    assert owner_totals.installed()


@pytest.mark.django_db(transaction=True)  # SQLite edits its schema outside transactions only
@pytest.mark.usefixtures("one_of_each")
def test_they_survive_a_table_that_is_made_anew(alice: User) -> None:
    name = Generation._meta.get_field("service")
    longer = models.CharField(max_length=30, default="native")
    longer.set_attributes_from_name("service")
    longer.model = Generation
    owner_totals.remove_before_migrate(plan=[(None, False)])
    for old, new in ((name, longer), (longer, name)):
        with connection.schema_editor() as editor:
            editor.alter_field(Generation, old, new)
    DraftImage.objects.all().delete()  # while there are none
    owner_totals.install_after_migrate()
    assert owner_totals.installed().keys() == owner_totals.triggers(connection.vendor).keys()
    assert totals(alice) == summed(alice)


@pytest.mark.usefixtures("one_of_each")
def test_a_wrong_total_is_reported_and_corrected(alice: User) -> None:
    right = totals(alice)
    OwnerTotals.objects.filter(owner_id=alice.pk).update(stored_bytes=F("stored_bytes") - 30, failed=2)
    lines = set(owner_totals.differences())
    assert lines == {f"stored_bytes of owner {alice.pk}: +30 missing", f"failed of owner {alice.pk}: -2 missing"}
    out = StringIO()
    with pytest.raises(CommandError):
        call_command("check_files", stdout=out)
    assert f"total    stored_bytes of owner {alice.pk}: +30 missing" in out.getvalue()
    call_command("check_files", "--repair", stdout=out)
    assert "2 totals wrong (corrected)." in out.getvalue()
    assert totals(alice) == right
    assert list(owner_totals.differences()) == []


def test_parts_of_an_owner_are_merged(alice: User, bob: User) -> None:
    for slot, size in ((100, 5), (101, -2), (102, 10)):
        OwnerTotals.objects.create(owner_id=alice.pk, slot=slot, stored_bytes=size, failed=1)
    OwnerTotals.objects.create(owner_id=bob.pk, slot=100, stored_bytes=4)
    OwnerTotals.objects.create(owner_id=bob.pk, slot=101, stored_bytes=-4)
    OwnerTotals.merge()
    row = OwnerTotals.objects.get()
    assert (row.owner_id, row.stored_bytes, row.failed) == (alice.pk, 13, 3)
