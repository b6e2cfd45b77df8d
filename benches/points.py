"""Operating points: in bulk against NumPy, plain Rust and memcpy; over sizes; a billion searched.

Needs the repository around it: `tests/reference/` for the NumPy form, cargo for plain Rust.
"""

from __future__ import annotations

import hashlib
import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from spread import peak_mb, seconds, spread

from tokenfleet import _core

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from points_numpy import curve_of  # noqa: E402
from points_numpy import points as numpy_points  # noqa: E402

import core_spec  # noqa: E402
import reference  # noqa: E402

LOADS = 1024
#: Two prices and two tariffs for each system; the dearer price with the dearer tariff is dominated.
OFFERS = [[(p * s, t) for p in (2.2, 2.5) for t in (0.06, 0.10)] for s in (1.0, 1.6)]
#: Every point has a rate of its own: nothing is shared between prices.
ONE_OFFER = [[(2.5 * s, 0.08)] for s in (1.0, 1.6)]
#: For the billion: five prices and four tariffs.
MANY_OFFERS = [[(p * s, t) for p in (1.9, 2.2, 2.5, 3.0, 4.0) for t in (0.05, 0.08, 0.1, 0.14)]
               for s in (1.0, 1.6)]  # fmt: skip
GRIDS = {"offers": OFFERS, "one": ONE_OFFER, "many": MANY_OFFERS}


def measure(quick: bool) -> dict[str, Any]:
    """Every figure of the subject; rates are of points worked out in full, within limits or not."""
    runs = 3 if quick else 7
    figures: dict[str, Any] = bulk(quick, runs)
    size = 2_000_000 if quick else 50_000_000
    two, one, gain, single = [], [], [], []
    for _ in range(runs):
        two.append(rate(searched(size, threads=2, skip=False)))
        one.append(rate(searched(size, threads=1, skip=False)))
        gain.append(arithmetic_gain())
        single.append(rate(searched(size // 4, threads=2, skip=False, offers="one")))
    figures["points_per_s"] = spread(two)
    figures["points_per_s_1_thread"] = spread(one)
    figures["points_per_s_one_offer"] = spread(single)
    gains = [t / o / g for t, o, g in zip(two, one, gain, strict=True)]
    figures["thread_gain_of_arithmetic"] = spread(gains)
    figures["scaling"] = [
        searched(size, threads=2, skip=False)
        for size in ([10**6, 10**7] if quick else [10**6, 10**7, 10**8, 10**9])
    ]
    figures |= billion(quick)
    figures["ratio_scalar"] = scalar_ratio()
    return figures


# One curve as arrays


def bulk(quick: bool, runs: int) -> dict[str, Any]:
    """Arrays in and out, beside the same formulas in NumPy and a copy of the result."""
    spec = core_spec.spec()
    problem = _core.Problem(json.dumps(spec))
    chosen = fitting(spec, problem)
    replica = reference.replica(chosen.layout, float(chosen.batch))
    k = chosen.members[0]
    curve = curve_of(replica, k)
    rows = 1 << (20 if quick else 22)
    full = 1.0 / replica.classes[k].load
    rate_rps = np.random.default_rng(1).uniform(0.01, 0.97, rows) * full
    price, tariff = np.full(rows, 2.5), np.full(rows, 0.08)

    def core(threads: int, first: int = rows) -> Any:
        args = (rate_rps[:first], price[:first], tariff[:first])
        return _core.operating_points(problem, chosen.id, k, *args, threads=threads)

    few = rows // 8
    block = best_block(lambda b: numpy_points(curve, rate_rps[:few], price[:few], tariff[:few], b))

    def in_numpy() -> Any:
        return numpy_points(curve, rate_rps[:few], price[:few], tariff[:few], block)

    agree(list(core(1, few).values()), in_numpy())
    result = [np.asarray(c) for c in core(2).values()]
    times: dict[str, list[float]] = {"numpy": [], "one": [], "two": [], "copy": []}
    for _ in range(runs):
        # In turn, so that what else the machine does falls on all alike.
        times["numpy"] += seconds(in_numpy, 1)
        times["one"] += seconds(lambda: core(1, few), 1)
        times["two"] += seconds(lambda: core(2, few), 1)
        times["copy"] += seconds(lambda: [c.copy() for c in result], 1)
    materialised = seconds(lambda: core(2), runs)
    return {
        "arrays_per_s": spread([rows / t for t in materialised]),
        "numpy_per_s": spread([few / t for t in times["numpy"]]),
        "numpy_block": block,
        "ratio_numpy": spread([n / t for n, t in zip(times["numpy"], times["two"], strict=True)]),
        "ratio_numpy_1_thread": spread(
            [n / t for n, t in zip(times["numpy"], times["one"], strict=True)]
        ),
        "memcpy_fraction": spread(
            [c / t for c, t in zip(times["copy"], materialised, strict=True)]
        ),
    }


def fitting(spec: Any, problem: _core.Problem) -> Any:
    """The first configuration of one class on several accelerators that serves and fits."""
    one = np.ones(1)
    for c in reference.configurations(spec):
        if c.layout is None or c.layout.role != "serve" or len(c.members) != 1 or c.batch < 32:
            continue
        known = _core.operating_points(problem, c.id, c.members[0], one, one, one)
        if known is not None and c.layout.gpus > 1 and reference.has_figures(c.layout):
            return c
    raise SystemExit("no configuration fits")


def best_block(work: Callable[[int], object]) -> int:
    """The block of rows with which NumPy is fastest."""
    sizes = [1 << s for s in range(10, 17)]
    took = [min(seconds(lambda size=size: work(size), 2)) for size in sizes]
    return sizes[int(np.argmin(took))]


def agree(core: list[Any], other: list[Any]) -> None:
    """Refuses to compare two forms that do not say the same."""
    for a, b in zip(core, other, strict=True):
        off = np.abs(np.asarray(a) - b) / np.maximum(np.abs(b), 1e-12)
        if not off.max() < 1e-6:
            raise SystemExit(f"the two forms differ by {off.max():.1e}")


def scalar_ratio() -> float:
    """Bulk over plain points per second on one thread, from the criterion bench."""
    command = ["cargo", "bench", "--bench", "points", "--", "--noplot"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)

    def took(name: str) -> float:
        path = ROOT / "target" / "criterion" / "points" / name / "new" / "estimates.json"
        return float(json.loads(path.read_text())["median"]["point_estimate"])

    return took("plain") / took("bulk")


# A grid


def grid(points: int, offers: list[list[tuple[float, float]]]) -> tuple[str, int]:
    """A specification whose grid has at least so many points on layouts that fit; its batch limits
    grow in number, everything else stays."""
    wide = {
        "tp": [1, 2, 4, 8],
        "pp": [1, 2],
        "class_sets": [0b01],
        "speculation": [
            {"depth": d, "accepted": (1 - 0.7 ** (d + 1)) / 0.3, "draft_cost": 0.05}
            for d in range(5)
        ],
    }
    limits = 1
    while True:
        batches = [8 * (i + 1) for i in range(limits)]
        spec = core_spec.spec()
        spec["workloads"] = [{**w, **wide, "batches": batches} for w in spec["workloads"][:1]]
        for system in spec["systems"]:
            system["mem_bytes"] *= 20.0
        text = json.dumps(spec)
        search = _core.PointSearch(
            _core.Problem(text), "utilisation", [0.5], [o[:1] for o in offers], skip=False
        )
        search.extend(0, search.unit_count)
        here = search.counts()["computed"] * LOADS * len(offers[0])
        if here >= points:
            return text, here
        limits = max(limits + 1, int(limits * points / max(here, 1)))


def searched(points: int, *, threads: int, skip: bool, offers: str = "offers") -> dict[str, Any]:
    """One search in a process of its own: points, seconds, peak memory."""
    asked = json.dumps({"points": points, "threads": threads, "skip": skip, "named": offers})
    command = [sys.executable, __file__, asked]
    child = subprocess.run(command, check=True, capture_output=True, text=True)
    return dict(json.loads(child.stdout))


def rate(found: dict[str, Any]) -> float:
    """Points worked out per second."""
    return float(found["computed"] / found["seconds"])


def search_here(points: int, threads: int, skip: bool, named: str) -> dict[str, Any]:
    """The search itself."""
    offers = GRIDS[named]
    text, _ = grid(points, offers)
    loads = list(np.linspace(0.99 / LOADS, 0.99, LOADS))
    problem = _core.Problem(text)
    search = _core.PointSearch(problem, "utilisation", loads, offers, skip=skip)
    begun = time.perf_counter()
    search.extend(0, search.unit_count, threads)
    took = time.perf_counter() - begun
    counts = search.counts()
    front = search.front()
    return {
        "points": counts["total"] - counts["no_layout"] - counts["memory"],
        "seconds": took,
        **counts,
        "kept": len(front["number"]),
        "digest": hashlib.sha256(b"".join(c.tobytes() for c in front.values())).hexdigest()[:16],
        "peak_mb": peak_mb(),
    }


def billion(quick: bool) -> dict[str, Any]:
    """The exact Pareto set of a billion candidates: the same as from working out each of them."""
    points = 10**7 if quick else 10**9
    bounded = [searched(points, threads=2, skip=True, offers="many") for _ in range(3)]
    full = searched(points, threads=2, skip=False, offers="many")
    if full["digest"] != bounded[0]["digest"]:
        raise SystemExit("a bound lost a point")
    best = bounded[0]
    return {
        "billion_candidates_s": spread([b["seconds"] for b in bounded]),
        "billion_candidates": best["points"],
        "billion_computed": best["computed"],
        "billion_skipped": best["skipped_dominated"] + best["skipped_beyond_limits"],
        "billion_kept": best["kept"],
        "billion_all_computed_s": full["seconds"],
    }


# Threads


def arithmetic_gain() -> float:
    """What a second thread gains a loop of pure arithmetic that needs no memory."""

    def work() -> None:
        hashlib.pbkdf2_hmac("sha256", b"tokens", b"fleet", 400_000)

    def both() -> None:
        other = threading.Thread(target=work)
        other.start()
        work()
        other.join()

    alone = statistics.median(seconds(work, 3))
    return 2.0 * alone / statistics.median(seconds(both, 3))


if __name__ == "__main__":
    print(json.dumps(search_here(**json.loads(sys.argv[1]))))
