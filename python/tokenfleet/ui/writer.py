"""The process that writes a plan's file, so that the page itself need not load the solver.

`python -m tokenfleet.ui.writer xlsx` reads a plan's JSON from standard input and writes the file to
standard output. Where it cannot, it ends with 1 and says on standard error why and what to do.
"""

from __future__ import annotations

import asyncio
import json
import sys

from tokenfleet.errors import SchemaError
from tokenfleet.plan.rows import Plan


def main() -> None:
    """Writes one file."""
    from tokenfleet.report.write import report_bytes  # noqa: PLC0415 (the page needs none of it)

    plan = Plan.from_json(json.loads(sys.stdin.buffer.read()))
    try:
        sys.stdout.buffer.write(report_bytes(plan, sys.argv[1]))
    except SchemaError as error:
        sys.exit(f"{error.message}: {error.hint}")


async def written(plan: Plan, kind: str) -> bytes:
    """The file of a plan, such as its `xlsx`; `SchemaError` says why there is none."""
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tokenfleet.ui.writer", kind), stdin=pipe, stdout=pipe, stderr=pipe
    )
    given = json.dumps(plan.to_json(), allow_nan=False).encode()
    content, said = await child.communicate(given)
    if child.returncode:
        lines = said.decode(errors="replace").strip().splitlines() or ["the writer died"]
        raise SchemaError(f"the {kind} file was not written: {lines[-1]}")
    return content


if __name__ == "__main__":
    main()
