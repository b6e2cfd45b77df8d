"""Measures every published figure and prints it with its spread.

    python benches/run.py [--json] [--quick] [--only NAME ...]

A subject is a module beside this one with `measure(quick: bool) -> dict[str, value]`. A value is a
number, a `Spread` (median, low, high), or text and lists for what is no single figure. Each subject
runs in a process of its own, so that its peak memory is its own. Exit code 1 if one failed.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import platform
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from spread import peak_mb

HERE = Path(__file__).resolve().parent
#: Marks the one line of a child's output that is its answer.
ANSWER = "measured "


def main() -> int:
    """Measures what is asked for; the exit code."""
    arguments = parse()
    if arguments.child:
        print(ANSWER + json.dumps(measured(arguments.child, arguments.quick)))
        return 0
    names = arguments.only or subjects()
    unknown = sorted(set(names) - set(subjects()))
    if unknown:
        print(f"--only {unknown[0]}: there are {', '.join(subjects())}", file=sys.stderr)
        return 2
    answer: dict[str, Any] = {"machine": machine(), "quick": arguments.quick}
    figures: dict[str, Any] = {}
    peaks: dict[str, float] = {}
    failed: dict[str, str] = {}
    for name in names:
        result = in_child(name, arguments.quick)
        if isinstance(result, str):
            failed[name] = result
            continue
        peaks[name] = result.pop("peak_mb")
        figures |= result
    answer |= flat(figures)
    if peaks:
        answer |= {"peak_mb": max(peaks.values()), "peak_mb_by_subject": peaks}
    answer["failed"] = failed
    print(json.dumps(answer, indent=1) if arguments.json else table(answer))
    return 1 if failed else 0


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Measures every published figure.")
    parser.add_argument("--json", action="store_true", help="print JSON and nothing else")
    parser.add_argument("--quick", action="store_true", help="small sizes and few runs")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="subjects to measure")
    parser.add_argument("--child", metavar="NAME", help=argparse.SUPPRESS)
    return parser.parse_args()


def subjects() -> list[str]:
    """Modules beside this one that measure something."""
    return sorted(p.stem for p in HERE.glob("*.py") if p.stem != "run" and measures(p))


def measures(path: Path) -> bool:
    """Whether a module defines `measure`."""
    nodes = ast.parse(path.read_text(encoding="utf-8")).body
    return any(isinstance(n, ast.FunctionDef) and n.name == "measure" for n in nodes)


def measured(name: str, quick: bool) -> dict[str, Any]:
    """Figures of one subject, and this process's peak memory, MB."""
    result = dict(import_module(name).measure(quick))
    result["peak_mb"] = peak_mb()
    return result


def in_child(name: str, quick: bool) -> dict[str, Any] | str:
    """The same from a process of its own; text says why there is none."""
    command = [sys.executable, __file__, "--child", name, *(["--quick"] if quick else [])]
    child = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = [line for line in child.stdout.splitlines() if line.startswith(ANSWER)]
    if child.returncode == 0 and lines:
        return dict(json.loads(lines[-1].removeprefix(ANSWER)))
    said = child.stderr.strip().splitlines()
    return said[-1] if said else f"exit code {child.returncode}"


def flat(figures: dict[str, Any]) -> dict[str, Any]:
    """A key per figure with its median, and the spreads apart."""
    values, spreads = {}, {}
    for name, value in figures.items():
        if isinstance(value, dict) and "median" in value:
            values[name] = value["median"]
            spreads[name] = [value["low"], value["high"]]
        else:
            values[name] = value
    return {**values, "spread": spreads}


def machine() -> dict[str, Any]:
    """What it was measured on."""
    return {
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "load": os.getloadavg()[0],
    }


def processor() -> str:
    """The processor's name."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def table(answer: dict[str, Any]) -> str:
    """The figures for people."""
    where = answer["machine"]
    lines = [f"{where['processor']}, {where['cores']} cores, load {where['load']:.2f}", ""]
    for name, value in answer.items():
        if name in ("machine", "quick", "spread", "failed"):
            continue
        if isinstance(value, float | int):
            low, high = answer["spread"].get(name, (None, None))
            between = "" if low is None else f"   ({low:,.4g} to {high:,.4g})"
            lines.append(f"{name:28} {value:>16,.4g}{between}")
        else:
            lines.append(f"{name:28} {json.dumps(value)}")
    lines += [f"{name:28} failed: {why}" for name, why in answer["failed"].items()]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
