"""The server: four tools over standard input and output. Needs the extra `mcp`."""

from __future__ import annotations

from typing import Any

from tokenfleet.assistant import answers
from tokenfleet.errors import SchemaError

INSTRUCTIONS = (
    "Plans which AI hardware serves a demand for tokens at the least cost, with proof. Figures "
    "come from the tools alone: where one answers `unknown` or `error`, say so and give its hint. "
    "Fill in no price, throughput or date. Tell what was assumed, and the warnings."
)


def server() -> Any:
    """The server with its tools.

    Raises:
        SchemaError: the protocol's package is not installed.
    """
    try:
        from mcp.server.mcpserver import MCPServer  # noqa: PLC0415 (an extra)
    except ImportError:
        raise SchemaError(
            "the server needs the package mcp, version 2", "pip install 'tokenfleet[mcp]'"
        ) from None
    found = MCPServer("tokenfleet", instructions=INSTRUCTIONS)
    for tool in (answers.check, answers.plan, answers.explain, answers.catalog):
        found.tool(structured_output=False)(tool)
    return found
