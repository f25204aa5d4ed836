"""Filters of log records."""

from __future__ import annotations

import logging


def remove_traceback(record: logging.LogRecord) -> bool:
    """Remove the traceback and keep the record: an invalid Host header is one line, as it has only Django's code."""
    record.exc_info = record.exc_text = None
    return True


def is_not_logged_yet(record: logging.LogRecord) -> bool:
    """Drop Django's records of errors that `inpainting.api.errors.temporary_error` has logged and translated."""
    return not (record.exc_info and getattr(record, "status_code", None) in (503, 507))
