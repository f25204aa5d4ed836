"""The Model Context Protocol (https://modelcontextprotocol.io/specification): tools for agents, at one address."""

from inpainting.api.compat.mcp.dialect import DIALECT

__all__ = ["DIALECT"]
