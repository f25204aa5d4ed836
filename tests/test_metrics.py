"""`/metrics`: who may read it, what it counts, and that its cost does not grow with the queue."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import yaml
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from prometheus_client import REGISTRY
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.parser import text_string_to_metric_families

from accounts.models import User
from inpainting import metrics
from inpainting.models import Generation, WebhookDelivery, Worker
from inpainting.worker import poller
from inpainting.worker.queue.fair_queue import start_next
from inpainting.worker.queue.queue_metrics import QueueCollector
from inpainting.worker.run import run
from tests.support.installation import ROOT

Generate = Callable[..., Generation]
TOKEN = {"Authorization": "Bearer of-prometheus"}


def value(name: str, **labels: str) -> float:
    """Of a metric of this process; 0 before it was first counted."""
    return REGISTRY.get_sample_value(name, labels) or 0.0


def samples() -> dict[tuple[str, str, str], float]:
    """What the database's collector reports: by metric, queue and model."""
    return {
        (sample.name.removeprefix("dreamlayer_"), sample.labels.get("queue", ""), sample.labels.get("model", "")): (
            sample.value
        )
        for metric in QueueCollector().collect()
        for sample in metric.samples
    }


def test_it_is_found_with_the_token_alone(client: Client, db: None, settings: Any) -> None:
    assert client.get("/metrics", headers=TOKEN).status_code == 404
    settings.METRICS_TOKEN = "of-prometheus"
    assert client.get("/metrics").status_code == 401
    assert client.get("/metrics", headers={"Authorization": "Bearer of-another"}).status_code == 401
    answer = client.get("/metrics", headers={**TOKEN, "Host": "10.0.0.7:8000"})
    assert answer.status_code == 200
    names = {family.name for family in text_string_to_metric_families(answer.content.decode())}
    assert {"dreamlayer_accept_seconds", "dreamlayer_database_up"} <= names


def test_a_worker_leaves_the_database_to_web_processes(client: Client, db: None, settings: Any) -> None:
    settings.METRICS_TOKEN, settings.ROLE = "of-prometheus", "worker"
    body = client.get("/metrics", headers=TOKEN).content.decode()
    assert "dreamlayer_step_seconds" in body
    assert "dreamlayer_queue_depth" not in body


def test_it_tells_depth_and_age_by_queue_and_model(alice: User, generate: Generate) -> None:
    first, second, third = (generate(alice, run=False) for _ in range(3))
    hour_ago = timezone.now() - timedelta(hours=1)
    Generation.objects.filter(pk=second.pk).update(queue="gpu", model="sd15", created_at=hour_ago)
    Generation.objects.filter(pk=third.pk).update(queue="gpu", model="sdxl")
    found = samples()
    assert found["queue_depth", "cpu", ""] == 1
    assert found["queue_depth", "gpu", "sd15"] == found["queue_depth", "gpu", "sdxl"] == 1
    assert 3600 <= found["queue_oldest_seconds", "gpu", "sd15"] < 3700
    assert found["queue_oldest_seconds", "cpu", ""] < 100
    assert start_next() == first
    found = samples()
    assert found["running", "cpu", ""] == 1
    assert ("queue_depth", "cpu", "") not in found


def test_it_tells_how_long_a_webhook_is_due(alice: User) -> None:
    assert samples()["webhook_lag_seconds", "", ""] == samples()["webhooks_due", "", ""] == 0
    WebhookDelivery.create_test(alice, "https://example.com/hook")
    WebhookDelivery.objects.update(next_attempt_at=timezone.now() - timedelta(minutes=5))
    assert samples()["webhooks_due", "", ""] == 1
    assert 300 <= samples()["webhook_lag_seconds", "", ""] < 400


@pytest.mark.django_db
def test_it_tells_how_many_workers_are_in_each_state() -> None:
    now = timezone.now()
    for name, is_drained, problem in (("a", False, ""), ("b", False, ""), ("c", True, ""), ("d", False, "no disk")):
        times = {"started_at": now, "seen_at": now}
        Worker.objects.create(name=name, parent=name, is_drained=is_drained, problem=problem, **times)
    (workers,) = (metric for metric in QueueCollector().collect() if metric.name == "dreamlayer_workers")
    found = {sample.labels["state"]: sample.value for sample in workers.samples}
    assert found == {"ready": 2, "drained": 1, "not ready": 1}


def test_its_queries_read_an_index_and_are_as_many_for_a_long_queue(alice: User, generate: Generate) -> None:
    generation = generate(alice, run=False)
    with CaptureQueriesContext(connection) as short:
        samples()
    rows = []
    for number in range(3000):
        copy = generation.copy_for_rerun()
        copy.pk, copy.queue, copy.number = uuid.uuid4(), "cpu", number + 1
        rows.append(copy)
    Generation.objects.bulk_create(rows, batch_size=500)
    with CaptureQueriesContext(connection) as long:
        assert samples()["queue_depth", "cpu", ""] == 3001
    assert len(long) == len(short)
    if connection.vendor == "sqlite":
        for query in long.captured_queries:
            model = "analysis" if "inpainting_analysis" in query["sql"] else "generation"
            if f"inpainting_{model}" in query["sql"]:
                with connection.cursor() as cursor:
                    cursor.execute(f"EXPLAIN QUERY PLAN {query['sql']}")
                    plan = " ".join(str(row[3]) for row in cursor.fetchall())
                assert f"SCAN inpainting_{model}" not in plan, (query["sql"], plan)
                assert f"USING COVERING INDEX {model}_of_model" in plan, (query["sql"], plan)
                assert "TEMP B-TREE" not in plan, (query["sql"], plan)


def test_no_more_rows_are_counted_than_a_scrape_may_read(
    alice: User, generate: Generate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inpainting.worker.queue.queue_metrics.MAX_COUNTED", 2)
    for _ in range(3):
        generate(alice, run=False)
    assert samples()["queue_depth", "cpu", ""] == 2


def test_a_generation_is_counted_from_its_acceptance_to_its_end(alice: User, generate: Generate) -> None:
    names = {
        "dreamlayer_generations_accepted_total": {"queue": "cpu", "model": ""},
        "dreamlayer_generations_ended_total": {"queue": "cpu", "model": "", "status": "succeeded"},
        "dreamlayer_accept_seconds_count": {},
        "dreamlayer_generation_seconds_count": {"queue": "cpu"},
    }
    before = {name: value(name, **labels) for name, labels in names.items()}
    generate(alice)
    assert {name: value(name, **labels) - before[name] for name, labels in names.items()} == dict.fromkeys(names, 1)


def test_lost_recovered_and_released_leases_are_counted(alice: User, generate: Generate) -> None:
    generate(alice, run=False)
    generation = start_next()
    assert generation is not None
    Generation.objects.update(lease_until=timezone.now() - timedelta(hours=1))
    counted = [counter._value.get() for counter in (metrics.LEASES_RECOVERED, metrics.LEASES_LOST, metrics.RELEASED)]
    poller.return_abandoned()
    run(generation)
    assert start_next() == generation
    poller.release_own()
    now = [counter._value.get() for counter in (metrics.LEASES_RECOVERED, metrics.LEASES_LOST, metrics.RELEASED)]
    assert [after - before for before, after in zip(counted, now, strict=True)] == [1, 1, 1]


def exported() -> dict[str, set[str]]:
    """The names of all samples that DreamLayer exports, each with its labels."""
    found: dict[str, set[str]] = {}
    for collector in vars(metrics).values():
        if isinstance(collector, MetricWrapperBase):
            (family,) = collector.describe()
            labels = set(collector._labelnames)
            suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_count", "_sum"]}[family.type]
            found |= {family.name + suffix: labels | ({"le"} if suffix == "_bucket" else set()) for suffix in suffixes}
    return found | {family.name: set(family._labelnames) for family in QueueCollector().collect()}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "name", ["alerts.yaml", "dashboard.json", "../kubernetes/dreamlayer.yaml", "../../docs/run/monitoring.md"]
)
def test_every_metric_that_is_named_exists(name: str, db: None) -> None:
    text = (ROOT / "deploy/monitoring" / name).read_text()
    families = {re.sub("_(bucket|count|sum)$", "", one) for one in exported()}
    named = set(re.findall(r"\bdreamlayer_[a-z_]+", text))
    assert named - {*families, *exported()} == set()
    assert {family for family in families if name.endswith(".md")} <= named


def expressions() -> list[str]:
    alerts = yaml.safe_load((ROOT / "deploy/monitoring/alerts.yaml").read_text())
    dashboard = json.loads((ROOT / "deploy/monitoring/dashboard.json").read_text())
    return [
        *(rule["expr"] for group in alerts["groups"] for rule in group["rules"]),
        *(target["expr"] for panel in dashboard["panels"] for target in panel["targets"]),
    ]


@pytest.mark.parametrize("expression", expressions())
def test_every_expression_reads_samples_with_the_labels_that_they_have(expression: str, db: None) -> None:
    named = set(re.findall(r"\bdreamlayer_[a-z_]+", expression))
    grouped = {label for group in re.findall(r"\b(?:by|on) \(([^)]*)\)", expression) for label in group.split(", ")}
    filtered = set(re.findall(r"[{,](\w+)=", expression))
    for name in named:
        assert (grouped | filtered) - {"instance"} <= exported()[name], name
