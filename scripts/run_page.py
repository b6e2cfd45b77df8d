"""Runs what a page of the documentation tells its reader to run, and puts what came out in place.

    python scripts/run_page.py docs/tutorial.md           # writes the page anew
    python scripts/run_page.py docs/tutorial.md --check   # fails where the page says something else

In a block of `console`, a line that begins with `$ ` is run by bash, all in one empty folder, and
the lines below it are what it printed, on standard output and then on standard error. After `…` the
rest is left out: as many lines are kept as stood there. A block of `yaml` whose first line is
`# NAME.yaml` is that file. Seconds are not compared.
"""

from __future__ import annotations

import argparse
import difflib
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

BLOCK = re.compile(r"^```(?P<kind>console|yaml)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# (?P<name>[\w-]+\.yaml)\n")
CUT = "…"
SECONDS = re.compile(r"[─ ]*\b\d+(?:\.\d+)? s\b")


@dataclass(frozen=True)
class Command:
    """A command and the lines that stand below it."""

    line: str
    shown: tuple[str, ...]

    @property
    def cut(self) -> bool:
        return bool(self.shown) and self.shown[-1] == CUT

    def kept(self, printed: list[str]) -> list[str]:
        """The lines that the page shows of what was printed."""
        if not self.cut or len(printed) < len(self.shown):
            return printed
        return [*printed[: len(self.shown) - 1], CUT]


def commands(body: str) -> Iterator[Command]:
    """The commands of a block."""
    line, shown = "", list[str]()
    for text in body.splitlines():
        if text.startswith("$ "):
            if line:
                yield Command(line, tuple(shown))
            line, shown = text[2:], []
        else:
            shown.append(text)
    if line:
        yield Command(line, tuple(shown))


def run(line: str, folder: Path) -> list[str]:
    """What a command prints in a folder; `tokenfleet` is the package that this Python has."""
    shell = f'tokenfleet() {{ "{sys.executable}" -m tokenfleet "$@"; }}\n{line}'
    environment = {**os.environ, "NO_COLOR": "1", "LC_ALL": "C.UTF-8"}
    environment.pop("COLUMNS", None)
    done = subprocess.run(
        ["bash", "-c", shell], cwd=folder, capture_output=True, text=True, env=environment,
        check=False, timeout=300,
    )  # fmt: skip
    return [text.rstrip() for text in (done.stdout + done.stderr).rstrip().splitlines()]


def page_anew(text: str) -> str:
    """The page with what its commands print now."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def block(match: re.Match[str]) -> str:
            body = match["body"]
            if match["kind"] == "yaml":
                file = FILE.match(body)
                if file is not None:
                    (folder / file["name"]).write_text(body, encoding="utf-8")
                return match[0]
            lines: list[str] = []
            for command in commands(body):
                lines += [f"$ {command.line}", *command.kept(run(command.line, folder))]
            return "\n".join(["```console", *lines, "```"])

        return BLOCK.sub(block, text)


def differences(page: Path) -> list[str]:
    """Where a page says something else than its commands print."""
    text = page.read_text(encoding="utf-8")
    before, after = (SECONDS.sub(" s", t).splitlines() for t in (text, page_anew(text)))
    return list(difflib.unified_diff(before, after, str(page), "now", lineterm=""))


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("page", type=Path)
    parser.add_argument("--check", action="store_true", help="write nothing; fail on a difference")
    arguments = parser.parse_args()
    if arguments.check:
        found = differences(arguments.page)
        print("\n".join(found))
        return 1 if found else 0
    text = arguments.page.read_text(encoding="utf-8")
    arguments.page.write_text(page_anew(text), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
