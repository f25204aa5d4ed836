"""The alerts and the dashboard for Prometheus and Grafana, checked by promtool."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.installation import ROOT

MONITORING = ROOT / "deploy/monitoring"
DASHBOARD: dict[str, Any] = json.loads((MONITORING / "dashboard.json").read_text())
EXAMPLE = re.search(r"```yaml\n(scrape_configs:.*?)```", (ROOT / "docs/run/monitoring.md").read_text(), re.DOTALL)
MINUTES = 20
"""How long the time series of the alerts' tests are."""
FIRING: dict[str, tuple[dict[str, str], dict[str, str], str]] = {
    "DreamLayerDatabaseAway": (
        {'dreamlayer_database_up{instance="web-1"}': f"0x{MINUTES}"},
        {"severity": "critical"},
        "No web process reaches the database",
    ),
    "DreamLayerQueueIsOld": (
        {'dreamlayer_queue_oldest_seconds{queue="gpu",model="sdxl"}': f"700x{MINUTES}"},
        {"severity": "warning", "queue": "gpu", "model": "sdxl"},
        "Generations wait for 11m 40s in gpu sdxl",
    ),
    "DreamLayerQueueWithoutWorker": (
        {
            'dreamlayer_queue_depth{queue="gpu",model="sdxl"}': f"3x{MINUTES}",
            'dreamlayer_running{queue="cpu",model=""}': f"1x{MINUTES}",
        },
        {"severity": "critical", "queue": "gpu"},
        "Nothing of the queue gpu runs",
    ),
    "DreamLayerGenerationsFail": (
        {
            'dreamlayer_generations_ended_total{queue="gpu",model="sdxl",status="failed"}': f"0+1x{MINUTES}",
            'dreamlayer_generations_ended_total{queue="gpu",model="sdxl",status="succeeded"}': f"0+3x{MINUTES}",
        },
        {"severity": "warning", "model": "sdxl"},
        "25% of the generations of sdxl fail",
    ),
    "DreamLayerWorkersLoseLeases": (
        {"dreamlayer_leases_lost_total": f"0+1x{MINUTES}", "dreamlayer_leases_recovered_total": f"0x{MINUTES}"},
        {"severity": "warning"},
        "Workers died, hung, or lost the database while they painted",
    ),
    "DreamLayerModelsAreSwapped": (
        {'dreamlayer_model_evictions_total{instance="gpu-1",model="sdxl"}': f"0+2x{2 * MINUTES}"},
        {"severity": "warning", "instance": "gpu-1"},
        "gpu-1 evicts more than one model a minute",
    ),
    "DreamLayerWebhooksAreLate": (
        {"dreamlayer_webhook_lag_seconds": f"400x{MINUTES}"},
        {"severity": "warning"},
        "No worker of the queue hooks sends the webhooks that are due",
    ),
    "DreamLayerErrors": (
        {
            'dreamlayer_http_request_seconds_count{status="500",route="a"}': f"0+1x{MINUTES}",
            'dreamlayer_http_request_seconds_count{status="200",route="a"}': f"0+9x{MINUTES}",
        },
        {"severity": "critical"},
        "10% of the requests fail",
    ),
}
"""Alert -> the time series at which it fires, its labels, its summary."""


def promtool(*arguments: str | Path, folder: Path) -> None:
    program = shutil.which("promtool")
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("promtool is not installed")
        pytest.skip("promtool is not installed (Debian: apt install prometheus)")
    done = subprocess.run([program, *arguments], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def input_series(values_by_name: dict[str, str]) -> list[dict[str, str]]:
    return [{"series": name, "values": values} for name, values in values_by_name.items()]


def minutes_of(values: str) -> int:
    """Of values in promtool's notation, one for each minute."""
    return int(values.rpartition("x")[2])


def test_prometheus_loads_the_example_and_the_alerts(tmp_path: Path) -> None:
    assert EXAMPLE is not None
    (tmp_path / "token").write_text("a")
    shutil.copy(MONITORING / "alerts.yaml", tmp_path)
    example = EXAMPLE[1].replace("/etc/prometheus/dreamlayer-token", "token")
    (tmp_path / "prometheus.yaml").write_text(f"rule_files: [alerts.yaml]\n{example}")
    promtool("check", "config", "prometheus.yaml", folder=tmp_path)
    promtool("check", "rules", "--lint=all", "--lint-fatal", "alerts.yaml", folder=tmp_path)


def test_each_alert_fires_and_names_what_is_wrong(tmp_path: Path) -> None:
    rules = yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"][0]["rules"]
    annotations = {rule["alert"]: rule["annotations"] for rule in rules}
    assert FIRING.keys() == annotations.keys()
    tests = []
    for alert, (series, labels, summary) in FIRING.items():
        expected = {"exp_labels": labels, "exp_annotations": {**annotations[alert], "summary": summary}}
        end = max(minutes_of(values) for values in series.values())
        times = [
            {"eval_time": "0m", "alertname": alert, "exp_alerts": []},
            {"eval_time": f"{end - 2}m", "alertname": alert, "exp_alerts": [expected]},
        ]
        tests.append({"interval": "1m", "input_series": input_series(series), "alert_rule_test": times})
    document = {"rule_files": [str(MONITORING / "alerts.yaml")], "evaluation_interval": "1m", "tests": tests}
    (tmp_path / "test.yaml").write_text(yaml.safe_dump(document))
    promtool("test", "rules", "test.yaml", folder=tmp_path)


def test_a_queue_whose_worker_paints_raises_no_alert(tmp_path: Path) -> None:
    healthy = {
        'dreamlayer_queue_depth{queue="gpu",model="sdxl"}': f"3x{MINUTES}",
        'dreamlayer_running{queue="gpu",model="sd15"}': f"1x{MINUTES}",
        'dreamlayer_queue_oldest_seconds{queue="gpu",model="sdxl"}': f"30x{MINUTES}",
        'dreamlayer_database_up{instance="web-1"}': f"0x{MINUTES}",
        'dreamlayer_database_up{instance="web-2"}': f"1x{MINUTES}",
        'dreamlayer_http_request_seconds_count{status="200",route="a"}': f"0+9x{MINUTES}",
        'dreamlayer_generations_ended_total{queue="gpu",model="sdxl",status="succeeded"}': f"0+3x{MINUTES}",
        "dreamlayer_leases_lost_total": f"0x{MINUTES}",
    }
    test = {
        "interval": "1m",
        "input_series": input_series(healthy),
        "alert_rule_test": [{"eval_time": f"{MINUTES - 2}m", "alertname": alert, "exp_alerts": []} for alert in FIRING],
    }
    (tmp_path / "test.yaml").write_text(
        yaml.safe_dump({"rule_files": [str(MONITORING / "alerts.yaml")], "evaluation_interval": "1m", "tests": [test]})
    )
    promtool("test", "rules", "test.yaml", folder=tmp_path)


def test_each_expression_of_the_dashboard_is_one_of_promql(tmp_path: Path) -> None:
    """With Grafana's variable for the range of a rate."""
    expressions = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", ())]
    assert len(expressions) > 15
    rules = [
        {"record": f"panel:{number}", "expr": expression.replace("$__rate_interval", "5m")}
        for number, expression in enumerate(expressions)
    ]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    promtool("check", "rules", "rules.yaml", folder=tmp_path)


def test_the_dashboard_names_one_data_source_and_each_panel_once() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len({panel["title"] for panel in panels}) == len(panels)
    places = [tuple(panel["gridPos"][key] for key in "xywh") for panel in panels]
    assert all(x >= 0 and x + w <= 24 for x, _, w, _ in places)
    cells = [(a, b) for x, y, w, h in places for a in range(x, x + w) for b in range(y, y + h)]
    assert len(cells) == len(set(cells)), "panels overlap"
