"""Log records as lines of JSON, for programs that collect logs."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime

from inpainting.log_context import generation_id, request_id


class JsonFormatter(logging.Formatter):
    """One JSON object per record: time, level, logger, message, the ids it belongs to, and an error's traceback.

    A record's `fields` (logging's `extra`) are added.
    """

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "request_id": request_id.get(),
            "generation_id": generation_id.get(),
            "error": self.formatException(record.exc_info) if record.exc_info else "",
            **getattr(record, "fields", {}),
        }
        return json.dumps({name: value for name, value in line.items() if value != ""}, ensure_ascii=False)
