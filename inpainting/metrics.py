"""The counters and histograms of this process, which `/metrics` exports to Prometheus; see docs/run/monitoring.md.

The waiting generations are not among them: `inpainting.worker.queue.queue_metrics` counts them in the database. Names
of models come from the catalog, so that the number of labels is bounded.
"""

from __future__ import annotations

from prometheus_client import Counter, Histogram

REQUEST_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60)
WORK_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)

HTTP_SECONDS = Histogram(
    "dreamlayer_http_request_seconds",
    "HTTP requests, from their arrival to the end of the response.",
    ["method", "route", "status"],
    buckets=REQUEST_SECONDS,
)
ACCEPT_SECONDS = Histogram(
    "dreamlayer_accept_seconds",
    "Accepting one generation: planning, storing its images, committing its rows.",
    buckets=REQUEST_SECONDS,
)
ACCEPTED = Counter("dreamlayer_generations_accepted", "Generations that this process accepted.", ["queue", "model"])
ENDED = Counter("dreamlayer_generations_ended", "Generations that this process ended.", ["queue", "model", "status"])
GENERATION_SECONDS = Histogram(
    "dreamlayer_generation_seconds",
    "Generations that this process ended, from their last start to their end.",
    ["queue"],
    buckets=WORK_SECONDS,
)
RELEASED = Counter("dreamlayer_generations_released", "Generations that this process returned when it stopped.")
LEASES_LOST = Counter("dreamlayer_leases_lost", "Generations that this process ran until another one took them.")
LEASES_RECOVERED = Counter("dreamlayer_leases_recovered", "Generations that this process requeued as abandoned.")
WEBHOOK_ATTEMPTS = Counter("dreamlayer_webhook_attempts", "Attempts to deliver a webhook.", ["result"])

STEP_SECONDS = Histogram(
    "dreamlayer_step_seconds",
    "Steps of a step batch: one call of the network.",
    ["model"],
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
STEP_ROWS = Histogram(
    "dreamlayer_step_batch_rows", "Rows that shared a step.", ["model"], buckets=(1, 2, 4, 8, 16, 32, 64)
)
STEP_OCCUPANCY = Histogram(
    "dreamlayer_step_batch_occupancy_ratio",
    "Rows that shared a step, of the rows that the measured step times allow.",
    ["model"],
    buckets=(0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1),
)
MODEL_LOAD_SECONDS = Histogram(
    "dreamlayer_model_load_seconds",
    "Loads of a model, from the disk or from the machine's memory.",
    ["model", "source"],
    buckets=WORK_SECONDS,
)
MODEL_EVICTIONS = Counter("dreamlayer_model_evictions", "Models and adapters evicted to make room.", ["model"])
