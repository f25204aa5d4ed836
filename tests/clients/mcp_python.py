"""Calls the tools of the Model Context Protocol with its official client, as agents do; see openai_python.py.

Each call is a session in one revision of the protocol, so that its requests are several.
"""

from __future__ import annotations

import asyncio
import json
import sys
from base64 import b64encode
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

address, key, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
photo, mask = (b64encode((folder / f"{name}.png").read_bytes()).decode() for name in ("photo", "mask"))


async def session(name: str, mode: str) -> list[str]:
    """Erase what the mask marks; return the files of the results, the names of the tools, and an error."""
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx2.AsyncClient(headers=headers, timeout=120) as http:
        async with Client(streamable_http_client(f"{address}/mcp", http_client=http), mode=mode) as client:
            tools = [tool.name for tool in (await client.list_tools()).tools]
            erased = await client.call_tool("erase", {"image": photo, "mask": mask})
            links = [part for part in erased.content if part.type == "resource_link"]
            refused = await client.call_tool("erase", {"image": photo})
        for index, link in enumerate(links):
            (folder / f"{name}-{index}").write_bytes((await http.get(str(link.uri))).content)
    shown = [part.mime_type for part in erased.content if part.type == "image"]
    return [*(f"{name}-{index}" for index in range(len(links))), *tools, *shown, f"error: {refused.is_error}"]


async def with_wrong_key() -> dict[str, Any]:
    statuses = []

    async def note(response: Any) -> None:
        statuses.append(response.status_code)

    headers, hooks = {"Authorization": "Bearer wrong"}, {"response": [note]}
    async with httpx2.AsyncClient(headers=headers, event_hooks=hooks) as http:
        try:
            async with Client(streamable_http_client(f"{address}/mcp", http_client=http), mode="legacy") as client:
                await client.list_tools()
        except* MCPError:
            pass
    return {"status": statuses[0]}


async def main(calls: dict[str, Coroutine[Any, Any, Any]]) -> dict[str, Any]:
    return {name: await call for name, call in calls.items()}


CALLS = {
    "python_auto": session("python_auto", "auto"),
    "python_legacy": session("python_legacy", "legacy"),
    "python_wrong_key": with_wrong_key(),
}
print(json.dumps(asyncio.run(main(CALLS))))
