"""Environment variables of development versions that have another name, or that the site no longer reads."""

from __future__ import annotations

from collections.abc import Container

from django.core.exceptions import ImproperlyConfigured

RENAMED = {"DREAMLAYER_PICTURES_SENT_BY": "DREAMLAYER_IMAGES_SENT_BY"}
"""The former name -> the present one."""

REMOVED = {
    "DREAMLAYER_BATCH_MAX_ITEMS": "a batch has at most 100 images",
    "DREAMLAYER_DIFFUSION_ATTENTION": "torch chooses the attention kernels of a CUDA device",
    "DREAMLAYER_DIFFUSION_CUDNN_BENCHMARK": "cuDNN does not try its algorithms for each new shape",
    "DREAMLAYER_DIFFUSION_HOST_PERCENT": "models evicted from a GPU take at most half of the machine's free memory",
    "DREAMLAYER_DIFFUSION_OPENVINO_MB": "OpenVINO's files take at most 20 GB",
    "DREAMLAYER_DOWNLOADS_PER_ADDRESS": "one address receives at most 32 images and archives at the same time",
    "DREAMLAYER_DOWNLOAD_WAIT_SECONDS": "a download waits at most 10 seconds for its turn",
    "DREAMLAYER_FETCHES_PER_USER": "at most 4 images are fetched from URLs at once for one user",
    "DREAMLAYER_LIVE_RECHECK_SECONDS": "open websockets are authorized again every 60 seconds",
    "DREAMLAYER_LIVE_SOCKETS_PER_USER": "one user has at most 50 websockets in each process",
    "DREAMLAYER_MODELSLAB_WAIT_SECONDS": "the ModelsLab API waits 25 seconds for a result",
    "DREAMLAYER_REQUEST_BODY_BYTES_PER_SECOND": "the body of a request arrives at 32 KiB a second or faster",
    "DREAMLAYER_REQUEST_BODY_SECONDS": "the body of a request may arrive at any speed for 30 seconds",
    "DREAMLAYER_REQUEST_HEAD_SECONDS": "the head of a request arrives within 30 seconds",
    "DREAMLAYER_SEGMENTATIONS_PER_USER": "at most 2 objects are selected at once for one user",
    "DREAMLAYER_SEND_SECONDS": "a client that reads nothing for 60 seconds is disconnected",
}
"""The former name -> what holds in its place."""


def refuse_former(environment: Container[str]) -> None:
    """Raise ImproperlyConfigured for a variable that would be ignored silently."""
    for former, name in RENAMED.items():
        if former in environment:
            raise ImproperlyConfigured(f"The environment variable {former} is now {name}: rename it.")
    for former, rule in REMOVED.items():
        if former in environment:
            raise ImproperlyConfigured(f"The environment variable {former} no longer exists: {rule}. Remove it.")
