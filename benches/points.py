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
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from spread import peak_mb, seconds, spread

from tokenfleet import _core

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

import front_numpy as kept_numpy  # noqa: E402
import points_numpy as in_numpy  # noqa: E402

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
#: Loads on a curve where NumPy streams too: blocks of rows as long as it likes.
LONG = 4096
TOP = 10


def measure(quick: bool) -> dict[str, Any]:
    """Every figure of the subject; rates are of points worked out in full, within limits or not."""
    runs = 3 if quick else 7
    return (
        rates(quick, runs)
        | streamed(quick, runs)
        | arrays(quick, runs)
        | scaling(quick)
        | billion(quick)
        | {"ratio_scalar": scalar_ratio()}
    )


def rates(quick: bool, runs: int) -> dict[str, Any]:
    """Points per second through limits and front, on two threads and on one."""
    size = 2_000_000 if quick else 200_000_000
    two, one, gain, single = [], [], [], []
    for _ in range(runs):
        two.append(rate(searched(size, threads=2, skip=False)))
        one.append(rate(searched(size, threads=1, skip=False)))
        gain.append(arithmetic_gain())
        single.append(rate(searched(size // 4, threads=2, skip=False, offers="one")))
    gains = [t / o / g for t, o, g in zip(two, one, gain, strict=True)]
    return {
        "points_per_s": spread(two),
        "points_per_s_1_thread": spread(one),
        "points_per_s_one_offer": spread(single),
        "thread_gain_of_arithmetic": spread(gains),
    }


# A grid streamed through limits and front, in the core and in NumPy


@dataclass(frozen=True)
class Streamed:
    """One curve of the grid as NumPy goes along it."""

    number: int  # of the curve
    k: int
    curve: in_numpy.Curve
    offers: list[tuple[float, float]]
    limits: list[tuple[str, int, float]]  # metric, percentile, ms


def streamed(quick: bool, runs: int) -> dict[str, Any]:
    """The same grid through limits, front and the cheapest, and without the front."""
    text, points = grid(2_000_000 if quick else 8_000_000, OFFERS, LONG)
    spec, problem = json.loads(text), _core.Space(text)
    curves = list(curves_of(spec, problem))
    shares = np.linspace(0.99 / LONG, 0.99, LONG)
    if len(curves) * LONG * len(OFFERS[0]) != points:
        raise SystemExit(f"{len(curves)} curves in NumPy are not the {points} points of the core")
    few = curves[:: max(1, len(curves) // 16)]
    block = best_block(lambda b: numpy_search(few, shares, b, True), [512, 1024, 2048, 4096])
    times: dict[str, list[float]] = {name: [] for name in ("numpy", "top", "two", "one", "two_top")}
    for _ in range(runs):
        # In turn, so that what else the machine does falls on all alike.
        begun = time.perf_counter()
        known = numpy_search(curves, shares, block, True)
        times["numpy"].append(time.perf_counter() - begun)
        times["top"] += timed(lambda: numpy_search(curves, shares, block, False))
        found, took = core_search(problem, shares, 2, True)
        times["two"].append(took)
        times["one"].append(core_search(problem, shares, 1, True)[1])
        times["two_top"].append(core_search(problem, shares, 2, False)[1])
    same_kept(found, known, len(spec["workloads"][0]["classes"]))

    def ratio(numpy: str, core: str) -> Any:
        return spread([n / c for n, c in zip(times[numpy], times[core], strict=True)])

    return {
        "numpy_stream_per_s": spread([points / t for t in times["numpy"]]),
        "numpy_stream_block": block,
        "ratio_numpy": ratio("numpy", "two"),
        "ratio_numpy_1_thread": ratio("numpy", "one"),
        "ratio_numpy_top": ratio("top", "two_top"),
    }


def timed(work: Callable[[], object]) -> list[float]:
    """Seconds of one run, as a list."""
    begun = time.perf_counter()
    work()
    return [time.perf_counter() - begun]


def curves_of(spec: Any, problem: _core.Space) -> Any:
    """The curves of a grid that fit, in NumPy's form: one per layout, batch limit and class."""
    one = np.ones(1)
    slos = spec["workloads"][0]["slos"]
    limits = [(s["metric"], s["percentile"], 1e3 * s["limit_s"]) for s in slos]
    for c in reference.configurations(spec):
        if c.layout is None or c.layout.role != "serve" or not reference.has_figures(c.layout):
            continue
        replica = reference.replica(c.layout, float(c.batch))
        for k in range(len(replica.classes)):
            if _core.operating_points(problem, c.id, k, one, one, one) is not None:
                curve = in_numpy.curve_of(replica, k)
                number = c.id * len(replica.classes) + k
                yield Streamed(number, k, curve, OFFERS[c.system], limits)


Kept = dict[int, tuple[kept_numpy.Front, kept_numpy.Cheapest]]


def numpy_search(curves: list[Streamed], shares: Any, block: int, front: bool) -> Kept:
    """Front and cheapest points by class; numbers are (curve, load, offer) in digits."""
    found: Kept = {}
    for s in curves:
        unbeaten, best = found.setdefault(s.k, (kept_numpy.Front(), kept_numpy.Cheapest(TOP)))
        ttft_at = tuple({1, 4} | {p for m, p, _ in s.limits if m == "ttft"})
        tpot_at = tuple({1, 4} | {p for m, p, _ in s.limits if m == "tpot"})
        dominated = [_dominated(offer, s.offers) for offer in s.offers]
        full = 1.0 / s.curve.one.load
        for first in range(0, len(shares), block):
            here = shares[first : first + block]
            op = in_numpy.operate(s.curve, here * full, ttft_at, tpot_at)
            good = np.ones(len(here), dtype=bool)
            for metric, percentile, most in s.limits:
                values = op.ttft_ms if metric == "ttft" else op.tpot_ms
                good &= values[percentile] <= most
            rows = np.flatnonzero(good)
            number = (s.number * len(shares) + first + rows) * len(s.offers)
            ttft, tpot = op.ttft_ms[4][rows], op.tpot_ms[4][rows]
            for i, (price, tariff) in enumerate(s.offers):
                cost = in_numpy.cost(s.curve, op, price, tariff)[rows]
                points = kept_numpy.Points(cost, ttft, tpot, number + i)
                best.add(points)
                if front and not dominated[i]:
                    unbeaten.add(points)
    for unbeaten, _ in found.values():
        unbeaten.sweep()
    return found


def _dominated(offer: tuple[float, float], offers: list[tuple[float, float]]) -> bool:
    """Whether another offer is no dearer in price and in energy."""
    return any(o != offer and o[0] <= offer[0] and o[1] <= offer[1] for o in offers)


def core_search(problem: _core.Space, shares: Any, threads: int, front: bool) -> Any:
    """The same search in the core, none skipped, and its seconds; curves are built within them."""
    search = _core.PointSearch(
        problem,
        loads={"utilisation": list(shares)},
        offers=OFFERS,
        cheapest=TOP,
        by="cost",
        front=front,
        skip=False,
    )
    begun = time.perf_counter()
    search.extend(0, problem.unit_count, threads)
    took = time.perf_counter() - begun
    return search, took


def same_kept(search: _core.PointSearch, known: Kept, classes: int) -> None:
    """Refuses to compare two searches that do not keep the same points with the same values.

    A point that only one keeps must be beaten in the other by no more than rounding.
    """
    for kind, index in (("front", 0), ("cheapest", 1)):
        columns: Any = search.front() if kind == "front" else search.cheapest()
        merits = ("cost_per_mtok_output_usd", "ttft_p99_ms", "tpot_p99_ms")
        for k, of_class in known.items():
            other = of_class[index].kept
            rows = np.flatnonzero(columns["class_index"] == k)
            offers = len(OFFERS[0])
            load = columns["number"][rows].astype(np.int64) // offers % LONG
            curve = columns["configuration"][rows].astype(np.int64) * classes + k
            number = (curve * LONG + load) * offers + columns["offer_index"][rows].astype(np.int64)
            mine = np.column_stack([columns[name][rows] for name in merits])
            theirs = np.column_stack([other.cost, other.ttft, other.tpot])
            _, i, j = np.intersect1d(number, other.number, return_indices=True)
            off = np.abs(mine[i] / theirs[j] - 1.0).max()
            alone = [(np.delete(mine, i, axis=0), theirs), (np.delete(theirs, j, axis=0), mine)]
            near = all((all_of <= one * (1.0 + 1e-6)).all(axis=1).any()
                       for some, all_of in alone for one in some)  # fmt: skip
            if not (off < 1e-6 and near and len(i) > 0.99 * len(rows)):
                raise SystemExit(f"the two searches keep other points ({kind}, {off:.1e})")


# One curve as arrays


def arrays(quick: bool, runs: int) -> dict[str, Any]:
    """Arrays in and out, beside the same formulas in NumPy and a copy of the result.

    All write into columns that were written before: new memory costs the system as much as a point,
    whoever asks for it. Candidates come as the streamed ones do, four offers at each rate; and
    apart with a rate of its own for each row, the way NumPy is asked.
    """
    spec = core_spec.spec()
    problem = _core.Space(json.dumps(spec))
    chosen = fitting(spec, problem)
    replica = reference.replica(chosen.layout, float(chosen.batch))
    k = chosen.members[0]
    curve = in_numpy.curve_of(replica, k)
    rows = 1 << (20 if quick else 22)
    rate_rps = np.linspace(0.01, 0.97, rows) / replica.classes[k].load
    price, tariff = np.full(rows, 2.5), np.full(rows, 0.08)
    inputs = (rate_rps, price, tariff)
    offers = np.array(OFFERS[0])
    shared = (
        np.repeat(rate_rps[:: len(offers)], len(offers)),
        *(np.tile(column, rows // len(offers)) for column in offers.T),
    )
    out: Any = _core.operating_points(problem, chosen.id, k, *inputs, threads=2)
    other = [c.copy() for c in out.values()]

    def core(threads: int, into: Any = None, rows: Any = shared) -> Any:
        return _core.operating_points(problem, chosen.id, k, *rows, threads=threads, out=into)

    few = [column[: rows // 8] for column in other]
    eighth = tuple(column[::8].copy() for column in inputs)

    def numpy_arrays(block: int) -> None:
        in_numpy.points_into(few, curve, eighth, block)

    block = best_block(numpy_arrays, [1 << s for s in range(10, 17)])
    numpy_arrays(block)
    agree([column[::8] for column in out.values()], few)
    names = ("numpy", "one", "two", "alone", "alone_one", "new", "copy", "copy_one")
    times: dict[str, list[float]] = {name: [] for name in names}
    with ThreadPoolExecutor(2) as pool:
        for _ in range(runs):
            times["numpy"] += [8.0 * t for t in seconds(lambda: numpy_arrays(block), 1)]
            times["alone"] += seconds(lambda: core(2, out, inputs), 1)
            times["alone_one"] += seconds(lambda: core(1, out, inputs), 1)
            times["one"] += seconds(lambda: core(1, out), 1)
            times["two"] += seconds(lambda: core(2, out), 1)
            times["new"] += seconds(lambda: core(2), 1)
            times["copy"] += seconds(lambda: copied(out, other, pool), 1)
            times["copy_one"] += seconds(lambda: copied(out, other, None), 1)

    def ratio(one: str, two: str) -> Any:
        return spread([a / b for a, b in zip(times[one], times[two], strict=True)])

    return {
        "arrays_per_s": spread([rows / t for t in times["two"]]),
        "arrays_new_memory_per_s": spread([rows / t for t in times["new"]]),
        "arrays_one_offer_per_s": spread([rows / t for t in times["alone"]]),
        "numpy_per_s": spread([rows / t for t in times["numpy"]]),
        "numpy_block": block,
        "ratio_numpy_arrays": ratio("numpy", "alone"),
        "ratio_numpy_arrays_1_thread": ratio("numpy", "alone_one"),
        "memcpy_gb_per_s": spread([72e-9 * rows / t for t in times["copy"]]),
        "memcpy_fraction": ratio("copy", "two"),
        "memcpy_fraction_1_thread": ratio("copy_one", "one"),
        "memcpy_fraction_one_offer": ratio("copy", "alone"),
    }


def copied(columns: Any, target: list[Any], pool: ThreadPoolExecutor | None) -> None:
    """A copy of the result columns, on two threads or on this one."""
    pairs = list(zip(target, columns.values(), strict=True))
    if pool is None:
        for to, column in pairs:
            np.copyto(to, column)
        return
    half = len(target[0]) // 2
    parts = [(to[rows], column[rows]) for to, column in pairs
             for rows in (slice(None, half), slice(half, None))]  # fmt: skip
    list(pool.map(lambda part: np.copyto(*part), parts))


def fitting(spec: Any, problem: _core.Space) -> Any:
    """The first configuration of one class on several accelerators that serves and fits."""
    one = np.ones(1)
    for c in reference.configurations(spec):
        if c.layout is None or c.layout.role != "serve" or len(c.members) != 1 or c.batch < 32:
            continue
        known = _core.operating_points(problem, c.id, c.members[0], one, one, one)
        if known is not None and c.layout.gpus > 1 and reference.has_figures(c.layout):
            return c
    raise SystemExit("no configuration fits")


def best_block(work: Callable[[int], object], sizes: list[int]) -> int:
    """The block of rows with which NumPy is fastest."""
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


def grid(
    points: int, offers: list[list[tuple[float, float]]], loads: int = LOADS
) -> tuple[str, int]:
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
        space = _core.Space(text)
        search = _core.PointSearch(
            space,
            loads={"utilisation": [0.5]},
            offers=[o[:1] for o in offers],
            cheapest=TOP,
            by="cost",
            front=False,
            skip=False,
        )
        search.extend(0, space.unit_count)
        here = search.counts()["computed"] * loads * len(offers[0])
        if here >= points:
            return text, here
        limits = max(limits + 1, int(limits * points / max(here, 1)))


def searched(
    points: int, *, threads: int, skip: bool, offers: str = "offers", front: bool = True
) -> dict[str, Any]:
    """One search in a process of its own: points, seconds, peak memory."""
    asked = {"points": points, "threads": threads, "skip": skip, "named": offers, "front": front}
    command = [sys.executable, __file__, json.dumps(asked)]
    child = subprocess.run(command, check=True, capture_output=True, text=True)
    return dict(json.loads(child.stdout))


def rate(found: dict[str, Any]) -> float:
    """Points worked out per second."""
    return float(found["computed"] / found["seconds"])


def search_here(points: int, threads: int, skip: bool, named: str, front: bool) -> dict[str, Any]:
    """The search itself."""
    offers = GRIDS[named]
    text, _ = grid(points, offers)
    loads = list(np.linspace(0.99 / LOADS, 0.99, LOADS))
    problem = _core.Space(text)
    search = _core.PointSearch(
        problem,
        loads={"utilisation": loads},
        offers=offers,
        cheapest=10,
        by="cost",
        front=front,
        skip=skip,
    )
    begun = time.perf_counter()
    search.extend(0, problem.unit_count, threads)
    took = time.perf_counter() - begun
    counts = search.counts()
    kept: Any = search.front() if front else search.cheapest()
    digest = hashlib.sha256()
    for column in kept.values():
        digest.update(column)
    return {
        "points": counts["total"] - counts["no_layout"] - counts["memory"],
        "seconds": took,
        **counts,
        "kept": len(kept["number"]),
        "digest": digest.hexdigest()[:16],
        "peak_mb": peak_mb(),
    }


def scaling(quick: bool) -> dict[str, Any]:
    """Seconds and peak memory over sizes: of the best points only, and of the front."""
    sizes = [10**6, 10**7] if quick else [10**6, 10**7, 10**8, 10**9]
    names = ("points", "seconds", "peak_mb", "kept")

    def over(front: bool) -> list[dict[str, Any]]:
        found = [searched(size, threads=2, skip=False, front=front) for size in sizes]
        return [{name: one[name] for name in names} for one in found]

    best, front = over(False), over(True)
    largest = max(b["peak_mb"] for b in best[1:])
    kept = front[-1]["kept"] - front[0]["kept"]
    return {
        "scaling": best,
        "scaling_memory_growth": largest / best[1]["peak_mb"] - 1.0,
        "scaling_front": front,
        "front_bytes_per_point": 1e6 * (front[-1]["peak_mb"] - best[-1]["peak_mb"]) / kept,
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
