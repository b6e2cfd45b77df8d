"""`mcp`: tokenfleet as tools of a language model's host."""

from __future__ import annotations

from tokenfleet.cli.answer import answering


def mcp() -> None:
    """Serve check, plan, explain and catalog over standard input and output (extra mcp)."""
    with answering(as_json=False):
        from tokenfleet.assistant.server import server

        server().run()
