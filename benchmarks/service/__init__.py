"""The service around the engine, measured over HTTP and websockets: `python -m benchmarks.service`."""

from benchmarks.service.sites import ROOT, Site, encoded, free_port, iopaint, ours, running, scene

__all__ = ["ROOT", "Site", "encoded", "free_port", "iopaint", "ours", "running", "scene"]
