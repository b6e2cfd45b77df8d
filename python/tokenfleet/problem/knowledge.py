"""What measured runs say about a layout's times, and the factors on them that follow.

The calibration holds how far predictions were off on runs left out of its fit, as the half-width h
of an 80 % interval of log(measured/predicted). The logarithm is taken as normal, so its standard
deviation is h/1.2816, and a time that holds at a one-sided confidence c is exp(z(c) h/1.2816) times
the predicted one: e^h at 0.9, which needs no normal tail, and the prediction itself at 0.5.
`docs/confidence.md` has the measured reasons for every choice here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from statistics import NormalDist
from typing import Any, Literal

from tokenfleet.calibration import CENTRE, METRICS, Corrected, Corrector, MeasuredRun
from tokenfleet.calibration.maturity import log_step_time
from tokenfleet.catalog import names
from tokenfleet.problem.specification import Specification, kernels_used
from tokenfleet.scenario.load import LoadedScenario

# One-sided confidence of the upper end of an 80 % interval.
_UPPER_END = 0.9
# What a plan promises: two times, and the rate of a replica at its capacity.
PROMISED = ("tpot", "ttft", "capacity")
# Half-widths grow so much where efficiencies come from another generation, and from another vendor.
# The first was measured by taking their own kernels away from four accelerators, the second on runs
# of AMD's (whose first tokens came earlier than predicted: no reason for more reserve). Within a
# generation nothing changed.
_WIDER = {
    "generation": {"tpot": 2.35, "ttft": 1.25, "capacity": 1.5},
    "vendor": {"tpot": 3.25, "ttft": 1.25, "capacity": 1.5},
}
# A plan takes the level of a bias on TPOT and not what belongs to one layout and load; what those
# explain stays unexplained.
_LEVEL_ONLY = 1.4

# Ranks (tensor parallel, attention data parallel) that stand for the core's groups of layouts.
GROUPS = ((1, 1), (2, 1), (1, 2))
NO_CALIBRATION = "none"
# Of a workload: what tells its kinds of layouts.
_AXES = ("model", "systems", "engines", "precisions", "kv")
# The confidence of the model's own expectation.
EXPECTED = 0.5

Provenance = Literal["calibrated", "modelled", "inherited"]


@dataclass(frozen=True)
class Knowledge:
    """How a layout's times are known. `half_width` of the 80 % interval is a logarithm.

    `provenance` is `inherited` where a kernel's efficiency is a relative's, `calibrated` where
    runs of this accelerator and architecture were measured, and `modelled` between the two.
    """

    provenance: Provenance
    level: str  # what the calibration knows: known_cell, new_version, new_cell or new_kind
    runs: int  # measured on the engine version, or else on the accelerator x architecture
    inherited_from: Mapping[str, str]  # what, from whom
    log_bias: float  # applied to TPOT; 0 where none is
    half_width: Mapping[str, float]
    #: Of the engine version that will run; biases are what is left beside it.
    log_maturity: float = 0.0

    def factor(self, metric: str, confidence: float) -> float:
        """Times that hold at a confidence, over those predicted (bias left out)."""
        return math.exp(deviations(confidence) * self.half_width[metric])


@cache
def deviations(confidence: float) -> float:
    """Half-widths of the 80 % interval that a one-sided confidence is away from the centre."""
    normal = NormalDist()
    return normal.inv_cdf(confidence) / normal.inv_cdf(_UPPER_END)


@dataclass(frozen=True)
class _Kind:
    """What layouts share that are known alike."""

    workload: int  # the first of its model and precision
    system: str
    engine: str
    precision: str
    kv: str
    ranks: tuple[int, int]


class Judge:
    """Says what is known of the layouts of a specification."""

    def __init__(self, loaded: LoadedScenario, spec: Specification) -> None:
        self._loaded = loaded
        self._spec = spec
        self._corrector = Corrector(loaded.calibration)
        effects = loaded.calibration.effects
        self._runs = {
            (e.kind, e.key): e.n
            for e in sorted(effects, key=lambda e: e.time == "tpot")  # times before capacity
            if e.time != "ttft" and e.term == "level"
        }
        self._known: dict[_Kind, Knowledge] = {}
        self._first: dict[tuple[str, str], int] = {}
        self._used: dict[tuple[int, str, str, tuple[int, int]], set[str]] = {}
        self._runs_like: dict[tuple[int, str, str, str], tuple[MeasuredRun, Corrected]] = {}

    def _with_kernels_of(self, w: int, precision: str) -> int:
        """The first workload that was asked for with this model and precision: it runs the same."""
        return self._first.setdefault((self._spec.workloads[w].model, precision), w)

    @cached_property
    def biased(self) -> bool:
        """Whether biases are applied at all."""
        return self._loaded.scenario.calibration != NO_CALIBRATION

    def of(self, w: int, layout: Mapping[str, Any]) -> Knowledge:
        """What is known of a layout of workload `w`; `layout` has the labels of a candidate."""
        kind = _Kind(
            workload=self._with_kernels_of(w, str(layout["precision"])),
            system=str(layout["system"]),
            engine=str(layout["engine"]),
            precision=str(layout["precision"]),
            kv=str(layout["kv_dtype"]),
            ranks=_group(int(layout["tp"]), int(layout["attention_dp"])),
        )
        if kind not in self._known:
            self._known[kind] = self._judged(kind)
        return self._known[kind]

    def _judged(self, kind: _Kind) -> Knowledge:
        point, found = self._corrected(kind)
        level = found.level
        cells = [("version_cell", point.version_cell), ("cell", point.cell)]
        known = self.biased and level == "known_cell"
        taken = self._taken(kind)
        return Knowledge(
            provenance=self._provenance(taken, point),
            level=level,
            runs=next((self._runs[c] for c in cells if c in self._runs), 0),
            inherited_from=taken,
            log_bias=math.log(found.predicted["tpot"]) if known else 0.0,
            half_width=self._half_width(level, known, self._distance(kind.system, taken)),
            log_maturity=log_step_time(kind.engine, point.version),
        )

    def _corrected(self, kind: _Kind) -> tuple[MeasuredRun, Corrected]:
        """The layout as a run, corrected: of every cache format and number of ranks alike."""
        alike = (kind.workload, kind.system, kind.engine, kind.precision)
        if alike not in self._runs_like:
            point = self._point(kind)
            self._runs_like[alike] = (point, self._corrector.correct(point))
        return self._runs_like[alike]

    def _point(self, kind: _Kind) -> MeasuredRun:
        """The layout as a run at the centre of the slopes, of no layout that was measured."""
        catalog = self._loaded.catalog
        model = self._spec.workloads[kind.workload].model
        return MeasuredRun(
            where="",
            accelerator=kind.system,
            generation=names.generation(catalog.system(kind.system)),
            engine=kind.engine,
            version=self._loaded.scenario.engine_version(kind.engine) or "",
            family=self._shapes[model][0],
            architecture=self._shapes[model][1],
            precision=kind.precision,
            layout="",
            concurrency=CENTRE["concurrency"],
            isl=CENTRE["input"],
            osl=1.0,
            measured={},
            predicted=dict.fromkeys(METRICS, 1.0),
            inherited=catalog.system(kind.system).kernel_key is None,
        )

    def _taken(self, kind: _Kind) -> dict[str, str]:
        """Kernels of the layout that are a relative's, and whose."""
        notes = self._spec.inherited.notes.get((kind.system, kind.engine))
        if not notes:
            return {}
        runs = (kind.workload, kind.precision, kind.kv, kind.ranks)
        if runs not in self._used:
            self._used[runs] = kernels_used(self._spec, *runs)
        used = self._used[runs]
        return {what: whom for what, whom in sorted(notes.items()) if what in used}

    def _provenance(self, taken: Mapping[str, str], point: MeasuredRun) -> Provenance:
        if taken:
            return "inherited"
        return "calibrated" if ("cell", point.cell) in self._runs else "modelled"

    def _distance(self, system: str, taken: Mapping[str, str]) -> str:
        """How far efficiencies come from: another `vendor`, another `generation`, or no farther."""
        row = self._loaded.catalog.system(system)
        own = (row.vendor, names.generation(row))
        found = {self._origins.get(whom, own) for whom in taken.values()}
        if any(vendor != row.vendor for vendor, _ in found):
            return "vendor"
        return "generation" if found - {own} else ""

    @cached_property
    def _shapes(self) -> dict[str, tuple[str, str]]:
        """Family and first of the same shape of every model, looked up once."""
        catalog = self._loaded.catalog
        return {
            model: (names.family(catalog.model(model)), names.shape(catalog, model))
            for model in {workload.model for workload in self._spec.workloads}
        }

    @cached_property
    def _spreads(self) -> dict[tuple[str, str], float]:
        """Half-widths by level and metric."""
        spreads = self._loaded.calibration.spreads
        return {(str(s.level), str(s.metric)): s.log_half_width for s in spreads}

    @cached_property
    def _origins(self) -> dict[str, tuple[str, str]]:
        """Vendor and generation of every accelerator in the kernel calibration."""
        catalog = self._loaded.catalog
        found = dict.fromkeys(catalog.kernels.accelerators, ("not in the catalog", ""))
        for row in catalog.systems.values():
            if row.kernel_key in found:
                found[row.kernel_key] = (row.vendor, names.generation(row))
        return found

    def _half_width(self, level: str, known: bool, distance: str) -> dict[str, float]:
        """Half-widths: those of a new cell at least, and more with the distance of what is lent."""
        spreads = self._spreads
        found = {m: spreads["new_cell", m] for m in PROMISED}
        if known:
            found["tpot"] = min(_LEVEL_ONLY * spreads["known_cell", "tpot"], found["tpot"])
        wider = _WIDER.get(distance, {})
        found = {m: h * wider.get(m, 1.0) for m, h in found.items()}
        if level == "new_kind":
            found = {m: max(h, spreads["new_kind", m]) for m, h in found.items()}
        return found


def _group(tp: int, attention_dp: int) -> tuple[int, int]:
    """The ranks of `GROUPS` that run the same kernels."""
    if attention_dp > 1:
        return GROUPS[2]
    return GROUPS[1] if tp > 1 else GROUPS[0]


def time_factors(knowledge: Knowledge, confidence: float | None) -> dict[str, float]:
    """The core's `TimeFactors`. Pools that only prefill have no bias: none was measured on them."""
    sure = confidence or EXPECTED
    bias = math.exp(knowledge.log_bias + knowledge.log_maturity)
    rate = knowledge.factor("capacity", sure)
    return {
        "ttft": knowledge.factor("ttft", sure),
        "tpot": bias * knowledge.factor("tpot", sure),
        "load": bias * rate,
        "prefill_load": rate,
    }


def add_time_factors(judge: Judge, spec: Specification, confidence: float | None) -> None:
    """Puts the factors of every kind of layout into a specification that the judge knows, at this
    or another confidence; none where all are 1."""
    known: dict[str, dict[str, Any]] = {}
    for w, data in enumerate(spec.data["workloads"]):
        alike = repr([data[axis] for axis in _AXES])
        if alike not in known:
            layouts = _layouts(spec, data)
            rows = [time_factors(judge.of(w, layout), confidence) for layout in layouts]
            known[alike] = _table(rows)
        data.update(known[alike])


def _table(rows: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """The distinct rows, and of each row its place among them; nothing where all are 1."""
    if all(value == 1.0 for row in rows for value in row.values()):
        return {}
    distinct = sorted({tuple(row.items()) for row in rows})
    place = {row: i for i, row in enumerate(distinct)}
    return {
        "time_factors": [dict(row) for row in distinct],
        "time_factors_of": [place[tuple(row.items())] for row in rows],
    }


def without_factors(spec: Specification) -> Specification:
    """The specification at the model's own times."""
    left_out = ("time_factors", "time_factors_of")
    workloads = [
        {key: value for key, value in w.items() if key not in left_out}
        for w in spec.data["workloads"]
    ]
    return replace(spec, data={**spec.data, "workloads": workloads})


def _layouts(spec: Specification, workload: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """One layout for every row of `time_factors_of`, in the core's order."""
    data = spec.data
    for system in workload["systems"]:
        for engine in workload["engines"]:
            for precision in workload["precisions"]:
                for kv in workload["kv"]:
                    for tp, attention_dp in GROUPS:
                        yield {
                            "system": data["systems"][system]["id"],
                            "engine": data["engines"][engine]["id"],
                            "precision": data["precisions"][precision]["id"],
                            "kv_dtype": data["kv_dtypes"][kv]["id"],
                            "tp": tp,
                            "attention_dp": attention_dp,
                        }
