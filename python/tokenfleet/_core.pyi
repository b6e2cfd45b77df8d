"""Types of the Rust core. Units are SI unless the name says otherwise.

N is a number of rows, K the number of request classes of a workload. Percentiles are always in the
order mean, p50, p90, p95, p99. What the numbers mean: ``docs/model.md``.
"""

from collections.abc import Sequence
from os import PathLike
from typing import Any, Final, Literal, TypeAlias, TypedDict, final

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Unpack

__all__ = [
    "BLANK",
    "CANDIDATE_ANSWERS",
    "CANDIDATE_NUMBERS",
    "HOURS_PER_YEAR",
    "POINT_COLUMNS",
    "SIMULATION",
    "CandidateSearch",
    "Candidates",
    "Durations",
    "PointSearch",
    "Space",
    "Splicer",
    "StopFlag",
    "__version__",
    "book_value",
    "closed_loop",
    "discount_factor",
    "distinct_rows",
    "estimate",
    "file_checksum",
    "flow_weight",
    "kwh_it_cost",
    "market_value",
    "operating_points",
    "pool_loop",
    "prune",
    "replay",
    "route_fleets",
    "simulate",
    "simulate_fleet",
    "system_year",
    "throughput",
    "usd_per_mtok",
    "usd_per_mtok_delivered",
    "user_cost_usd",
]

__version__: Final[str]
HOURS_PER_YEAR: Final[float]
CANDIDATE_ANSWERS: Final[tuple[str, ...]]  # numbers; means of closed loops last
CANDIDATE_NUMBERS: Final[tuple[str, ...]]  # as Candidates.evaluate takes them
POINT_COLUMNS: Final[tuple[str, ...]]  # numbers of an operating point
BLANK: Final[float]  # an optional number of a candidate that is left out

SIMULATION: Final[_Settings]  # how a group is simulated where nothing else is said

#: Mean, p50, p90, p95, p99.
_Percentiles: TypeAlias = tuple[float, float, float, float, float]
_Reals: TypeAlias = NDArray[np.float64]
_Wholes: TypeAlias = NDArray[np.uint32]
_Longs: TypeAlias = NDArray[np.uint64]

class _Layout(TypedDict):
    """Fields of one configuration, as names and numbers."""

    workload: str
    system: str
    engine: str
    precision: str
    kv_dtype: str
    tp: int
    pp: int
    ep: int
    attention_dp: int
    speculative_depth: int
    role: str  # serve, prefill or decode
    ttft_split: float | None  # share of the TTFT limit that the prefill pool may use
    batch_limit: int  # sequences in decode on the whole replica
    classes: list[str]  # admitted
    own_mix: bool  # takes them all, each in its share of the workload's requests

class _Recheck(TypedDict):
    """A replica at a given mix."""

    utilisation: float  # Σ rate·load, before the capacity is folded in
    broken: str | None  # ttft, tpot or e2e: the limit that is exceeded most
    slo_s: list[float | None] | None  # limited time of each limit; None where it binds nothing here
    concurrency: float | None  # sequences in decode; None above capacity
    ttft_s: list[_Percentiles] | None  # (K,); NaN for a class without rate
    tpot_s: list[_Percentiles] | None  # (K,); NaN in a prefill pool

class _Counts(TypedDict):
    """How the integers of a workload's space ended; every one is in exactly one of the last
    seven."""

    evaluated: int  # usable + ttft + tpot + e2e
    usable: int
    dominated: int  # usable too, but a bound shows that another is at least as good; not evaluated
    no_layout: int  # degrees, batch or role that make no layout, or no kernel or link figure
    memory: int
    ttft: int
    tpot: int
    e2e: int

class _Kept(TypedDict):
    """Candidates that survive pruning, as columns of N rows in canonical order."""

    id: _Longs
    workload: NDArray[np.int64]  # index in the specification
    latency_group: NDArray[np.int64]  # row of the workload's round_trip_s
    system: NDArray[np.int64]  # index in the specification
    kv: NDArray[np.int64]  # KV dtype index; 0 for serve
    gpus: _Longs  # accelerators in a replica
    oddities: _Longs  # bits: 1 pipeline stages, 2 weights of fewer bits than 8 and than published
    plainer: list[bool]  # another is at least as good in all but oddities
    own_mix: list[bool]  # takes all classes in the workload's own shares
    role: list[str]
    split: NDArray[np.int64]  # position among the workload's splits; -1 for serve
    capacity: _Reals  # utilisation that the limits allow
    quality: _Reals
    idle_w: _Reals  # IT watts of a loaded replica above the idle of its accelerators
    load_s: list[list[float]]  # (N, K) replica-seconds per request ÷ capacity; inf: not admitted
    energy_j: list[list[float]]  # (N, K) IT joules per request above that; inf: not admitted

class _Points(TypedDict):
    """Operating points at capacity under the worst mix, as columns of N rows; NaN where none."""

    gpus: _Reals
    capacity: _Reals  # utilisation; 0 where a limit breaks on an idle replica
    requests_per_s: _Reals  # per replica, the set's classes in their own shares
    output_tokens_per_s: _Reals  # per replica
    drawn_w: _Reals  # IT watts of the replica at capacity
    weight_bytes_per_gpu: _Reals
    kv_bytes_per_gpu: _Reals  # a full batch at the longest context
    concurrency: _Reals  # sequences in decode; 0 in a prefill pool
    ttft_mean_ms: _Reals  # worst class, round trip included
    ttft_p50_ms: _Reals
    ttft_p90_ms: _Reals
    ttft_p95_ms: _Reals
    ttft_p99_ms: _Reals
    tpot_mean_ms: _Reals  # NaN in a prefill pool
    tpot_p50_ms: _Reals
    tpot_p90_ms: _Reals
    tpot_p95_ms: _Reals
    tpot_p99_ms: _Reals
    status: list[str]  # ok, no_layout, memory, or the limit an idle replica breaks

#: Mean over replications and half the width of its 95 % interval (NaN with fewer than two).
_Estimate: TypeAlias = tuple[float, float]
_Estimates: TypeAlias = tuple[_Estimate, _Estimate, _Estimate, _Estimate, _Estimate]
#: For each class, input and output tokens, equally long, from which pairs are drawn.
_Lengths: TypeAlias = Sequence[tuple[_Wholes, _Wholes]]
#: Arrival times (s, not falling), classes, input and output tokens, equally long.
_Trace: TypeAlias = tuple[_Reals, _Wholes, _Wholes, _Wholes]
#: Of the blocks of its prompts, one after the other; where those of each row begin, with a last
#: entry where they end; tokens in a block.
_Hashes: TypeAlias = tuple[_Longs, _Longs, int]

class _Curve(TypedDict, total=False):
    """How rates change over time: their ratios in equal parts of a period that repeats."""

    weights: Sequence[float]
    period_s: float
    start_s: float  # where in the period the simulation begins

class _Settings(TypedDict, total=False):
    """How a group is simulated; what is left out is as in ``SIMULATION``."""

    replicas: int
    router: str  # round_robin, join_shortest_queue or least_loaded
    burstiness: float  # shape of the Gamma times between drawn requests; 1: Poisson, less: bursts
    curve: _Curve | None
    requests: int  # measured
    warmup: float  # share of the requests that come before; of a trace, share of its rows
    replications: int
    seed: int
    latency_group: int
    waiting_limit: int | None  # requests that may wait on a lane; more are rejected

class _Conservation(TypedDict):
    """Every request of all replications; the first is the sum of the others, always."""

    arrived: int
    finished: int
    rejected: int
    lost: int  # with a replica that failed
    in_flight: int

class _Sample(TypedDict):
    """Measured requests of one class in one replication."""

    arrived: int
    judged: int  # what shares are of: all, or if it was stopped those that ended
    finished: int
    rejected: int
    good: int  # finished within every limit that binds the class
    within: list[int]  # finished within each limit of the workload; 0 where it does not bind
    ttft: Durations
    tpot: Durations
    e2e: Durations

class _Served(TypedDict):
    """Measured requests of one class; unfinished and rejected ones are in no latency."""

    finished: int
    served_per_s: _Estimate
    ttft_s: _Estimates  # round trip included
    tpot_s: _Estimates
    e2e_s: _Estimates

class _SimulatedClass(_Served):
    """The same of one group."""

    arrived: int
    rejected: int
    unfinished: int
    samples: list[_Sample]  # one for each replication

class _Series(TypedDict):
    """What replicas held over time, in the first replication: at most 511 samples."""

    at_s: list[float]
    waiting: list[float]  # requests
    running: list[float]  # requests
    cache_share: list[float]
    replicas_up: list[float]

class _Run(TypedDict):
    """What every simulation says."""

    interrupted: bool  # by `stop`: replications that came to their end, or without one all parts
    replications: int
    unstable_replications: int  # the backlog grew through the run, and less was served than came
    unstable: bool  # in most replications: latencies are those of a queue that diverges
    backlog: _Estimate  # requests waiting or running in the fleet
    steps: int
    conservation: _Conservation
    series: _Series

class _Use(TypedDict):
    """What a group did in measured time."""

    utilisation: _Estimate  # each sequence charged its part of a step with a full batch
    busy: _Estimate  # share of time with a step running
    concurrency: _Estimate  # sequences in decode on one replica
    hit_rate: _Estimate  # prompt tokens found in prefix caches
    preemptions: int

class _Simulated(_Run, _Use):
    """Result of a simulation of one group."""

    lanes: int  # of one replica
    cache_bytes: float  # of one lane
    cache_tokens: float  # of short sequences that fill it
    classes: list[_SimulatedClass]

class _FleetCell(_Served):
    """The same of one class on one site."""

    good: int  # finished within every limit that binds the class
    good_per_s: _Estimate
    tokens_per_s: _Estimate  # output tokens
    good_tokens_per_s: _Estimate

class _FleetClass(_FleetCell):
    """The same on all sites."""

    arrived: int
    rejected: int
    lost: int
    unfinished: int
    attainment: _Estimate  # share of those that came, finished within every limit
    within: list[_Estimate]  # the same for each limit of the workload; 0 where it does not bind
    sites: list[_FleetCell]

class _FleetGroup(_Use):
    """One group of a fleet."""

    drawn_w: _Estimate  # IT watts of all its replicas
    energy_j: _Estimate

class _SimulatedFleet(_Run):
    """Result of :func:`simulate_fleet`."""

    seed: int
    window_s: _Estimate  # measured time
    restarted: int
    failures: int  # in measured time
    classes: list[_FleetClass]
    all_classes: _FleetClass  # taken together
    groups: list[_FleetGroup]

class _SystemYear(TypedDict):
    """Yearly cost of one system, USD; energy is apart."""

    capex_annuity: float
    residual_credit: float  # negative
    maintenance: float
    staff: float
    licences: float
    hosting: float
    rental: float
    capex_usd: float  # outlay, not a yearly cost

class _KwhCost(TypedDict):
    """Cost of one kWh at the IT equipment, USD."""

    energy: float
    carbon: float
    water: float

@final
class Space:
    """A checked specification and its space of configurations, a range of integers.

    Raises ``ValueError`` naming the field for text that is no specification, a number outside its
    domain, or an index that points nowhere.
    """

    def __new__(cls, spec_json: str) -> Space: ...
    @property
    def unit_count(self) -> int:
        """Units of work. A unit is all configurations of one (workload, system, engine, precision,
        tp, ep, attention dp); they share operator tables."""

    @property
    def partition_count(self) -> int:
        """Partitions: all configurations of one (workload, system) each, which may replace each
        other."""

    @property
    def space_size(self) -> int:
        """Integers in the space; not every one is a layout."""

    def describe(self, id: int) -> _Layout:
        """Layout fields of configuration ``id``. Raises ``IndexError`` past ``space_size``."""

    def points(self, ids: _Longs, latency_group: int = 0, threads: int = 0) -> _Points:
        """Operating points of configurations ``ids`` (N,) at one latency group.

        ``threads``: 0 takes all cores. The GIL is released. Raises ``IndexError`` for an id or a
        latency group that does not exist.
        """

    def recheck(
        self, id: int, latency_group: int, rates: _Reals, replicas: float = 1.0
    ) -> _Recheck:
        """Latency of one replica of ``id`` at ``rates`` (K,) in requests/s, of so many ``replicas``
        with such rates each behind a router that knows how many requests each has.

        Raises ``ValueError`` for a negative or non-finite rate, another number of classes, a rate
        of a class that the configuration does not admit, or a configuration that is no layout.
        """

    def with_kernels(self, kernels_json: str) -> Space:
        """The same specification with other kernels: JSON of its ``kernels`` list.

        Raises ``ValueError`` where a kernel is not usable.
        """

@final
class Candidates:
    """Layouts of a problem that rows of a candidate file refer to."""

    def __new__(cls, space: Space) -> Candidates: ...
    def add(
        self,
        axes: Sequence[int],
        degrees: Sequence[int],
        speculation: dict[str, float],
    ) -> int | None:
        """Prepares a layout and returns its number; ``None``: it is none, or a figure is missing.

        ``axes`` (5,): index of the workload, then positions on its axes of system, engine,
        precision and KV dtype. ``degrees`` (4,): tp, pp, ep, attention dp. ``speculation``:
        ``depth`` in draft tokens, ``accepted`` tokens per step, ``draft_cost`` of a draft token as
        a share of a step.
        """

    def evaluate(
        self,
        layout: NDArray[np.int32],
        numbers: Sequence[_Reals],
        status: NDArray[np.uint8],
        room: Sequence[tuple[_Reals, NDArray[np.uint8]]],
    ) -> tuple[int, list[int]]:
        """Answers N rows into the room that is given.

        ``layout`` (N,): numbers from ``add``; negative ones are rejected. ``numbers``: an array for
        each of ``CANDIDATE_NUMBERS``; all but the first two may be empty, and hold ``BLANK`` where
        a row says nothing. ``status`` (N,) and, for each of ``CANDIDATE_ANSWERS``, the ``room`` of
        (N,) and (N/8, rounded up) are written: how rows ended (``candidates/rows.rs``), numbers,
        and a bit for each that is there, the first row in the lowest. Returns how many rows are not
        rejected, whose numbers come first, and how many of them lack each answer. The GIL is
        released. Raises ``ValueError`` for other lengths or numbers.
        """

@final
class CandidateSearch:
    """Counts and kept candidates of what was searched so far. Order and grouping do not matter."""

    def __new__(cls) -> CandidateSearch: ...
    def extend(self, space: Space, first: int, last: int, threads: int = 0) -> None:
        """Adds partitions ``first`` to ``last`` (exclusive), each once, of one problem.

        ``threads``: 0 takes all cores. The GIL is released. Raises ``IndexError`` past
        ``partition_count``.
        """

    def counts(self) -> dict[int, _Counts]:
        """Counts by index of the workload."""

    def kept(self) -> _Kept:
        """Kept candidates."""

class _BulkPoints(TypedDict):
    """Operating points of one replica serving one class, (N,) each."""

    output_tokens_per_s: _Reals
    output_tokens_per_s_per_gpu: _Reals
    ttft_p50_ms: _Reals
    ttft_p99_ms: _Reals
    tpot_p50_ms: _Reals
    tpot_p99_ms: _Reals
    drawn_w: _Reals
    cost_per_mtok_output_usd: _Reals  # price and energy, running at this rate
    concurrency: _Reals  # sequences in decode

class _KeptPoints(_BulkPoints):
    """Points that a search keeps, with where they lie."""

    number: _Longs
    configuration: _Longs  # for ``Space.describe``; its classes are another axis here
    workload_index: _Longs
    class_index: _Longs
    offer_index: _Longs
    rate_rps: _Reals
    utilisation: _Reals
    usd_per_gpu_h: _Reals
    usd_per_kwh: _Reals

class _PointCounts(TypedDict):
    """What became of the points; each is in exactly one of the first five."""

    computed: int
    skipped_beyond_limits: int  # a bound breaks a limit
    skipped_dominated: int  # a kept point beats a bound
    no_layout: int
    memory: int
    total: int

class _Question(TypedDict, total=False):
    """What is searched and kept; only ``latency_group`` (0) and ``skip`` (on) may be left out."""

    loads: dict[str, list[float]]  # rising; of utilisation (below 1), rate_rps or concurrency
    offers: Sequence[Sequence[tuple[float, float]]]  # by system: USD/h per accelerator, USD per kWh
    latency_group: int
    cheapest: int
    by: Literal["cost", "ttft", "tpot"]
    front: bool
    skip: bool  # points that a bound excludes are counted and not computed; nothing else changes

def operating_points(
    space: Space,
    id: int,
    class_index: int,
    rate_rps: _Reals,
    usd_per_gpu_h: _Reals,
    usd_per_kwh: _Reals,
    *,
    latency_group: int = 0,
    threads: int = 0,
    out: _BulkPoints | None = None,
) -> _BulkPoints | None:
    """Operating points of configuration ``id`` serving one class at N rates and prices.

    ``rate_rps`` (N,) requests/s, ``usd_per_gpu_h`` (N,), ``usd_per_kwh`` (N,) at the IT equipment;
    contiguous, finite, not negative. Above capacity latencies and costs are inf, tokens 0 and
    watts NaN. ``out``: columns of an earlier call, or others like them, to write into and return;
    new memory costs as much as the points. ``None``: no layout, or a full batch of its longest
    contexts does not fit. The GIL is released. Raises ``ValueError`` for other lengths or values,
    or an ``out`` that cannot be written, ``IndexError`` past the end.
    """

@final
class PointSearch:
    """The best of a grid: layouts that serve x batch limits x classes x loads x offers.

    Kept are, within the latency limits and for each class, the points that no other beats in cost,
    TTFT p99 and TPOT p99, unless ``front`` is off, and the ``cheapest`` so many by ``by``.
    Nothing depends on the number of threads.
    """

    def __new__(cls, space: Space, **question: Unpack[_Question]) -> PointSearch:
        """Raises ``ValueError`` naming what is unknown, missing or out of range, ``IndexError`` for
        a latency group that does not exist."""

    @property
    def size(self) -> int:
        """Points of the grid."""

    def extend(self, first: int, last: int, threads: int = 0) -> None:
        """Searches places ``first`` to ``last`` (exclusive) of the units, each once.

        What earlier places found bounds the later ones. Neighbouring places are far apart in the
        space. ``threads``: 0 takes all cores. The GIL is released. Raises ``IndexError`` past the
        ``unit_count`` of the space.
        """

    def counts(self) -> _PointCounts:
        """What became of the points so far."""

    def front(self) -> _KeptPoints:
        """Points that no other beats, by workload, class and number; none with ``front`` off."""

    def cheapest(self) -> _KeptPoints:
        """The best points by workload and class, best first; of equals the cheaper, then the lower
        number."""

def distinct_rows(
    columns: Sequence[_Wholes],
) -> tuple[_Wholes, _Wholes]:
    """First row of every distinct row of 1 to 12 columns of codes, and for each row which it is."""

@final
class Durations:
    """Durations that a simulation measured, in buckets of at most 0.39 %."""

    def __eq__(self, other: object, /) -> bool: ...
    @property
    def count(self) -> int:
        """How many there are."""

    @staticmethod
    def summary(parts: Sequence[Durations], weights: Sequence[float]) -> list[float]:
        """Mean, p50, p90, p95, p99 of several samples together, s; NaN without a duration.

        Every duration of a sample counts ``weights`` times. Raises ``ValueError`` for a weight that
        is negative or not finite, or another number of them.
        """

@final
class StopFlag:
    """Ends a simulation from another thread."""

    def __new__(cls) -> StopFlag: ...
    def set(self) -> None:
        """Simulations that were given it end within some thousand events."""

def estimate(values: _Reals) -> tuple[float, float]:
    """Mean of the values that are numbers, and half the width of its 95 % interval.

    Student's t; the half width is NaN with fewer than two.
    """

def simulate(
    space: Space,
    id: int,
    rates: _Reals,
    lengths: _Lengths,
    *,
    threads: int = 0,
    stop: StopFlag | None = None,
    **settings: Unpack[_Settings],
) -> _Simulated:
    """Discrete-event simulation of replicas of a serving configuration.

    ``rates`` (K,): requests/s of the whole group. The same seed gives the same result on any number
    of ``threads``; 0 takes all cores. The GIL is released; ``stop``, set by another thread, ends
    the run. Raises ``ValueError`` naming the setting or the row of bad input, or for a
    configuration that is no serving layout; ``IndexError`` for one that does not exist.
    """

def replay(
    space: Space,
    id: int,
    trace: _Trace,
    *,
    hashes: _Hashes | None = None,
    mixed: tuple[_Reals, _Lengths] | None = None,
    stop: StopFlag | None = None,
    **settings: Unpack[_Settings],
) -> _Simulated:
    """The same under a trace, which is measured once and whole: half widths are NaN.

    ``mixed``: rates and lengths of drawn requests that come among its rows, until the last.
    So ``requests`` and ``replications`` say nothing.
    """

def simulate_fleet(
    space: Space,
    fleet: dict[str, Any],
    *,
    lengths: _Lengths,
    trace: _Trace | None = None,
    hashes: _Hashes | None = None,
    threads: int = 0,
    stop: StopFlag | None = None,
) -> _SimulatedFleet:
    """The same of groups of replicas of one workload behind one router.

    ``fleet`` is described in ``docs/simulation.md``, "Fleets".
    """

def prune(candidates: Sequence[dict[str, Any]], per_system: int) -> list[int]:
    """Places of the candidates of one group that no other makes useless.

    Of each: ``load_s`` (K,), replica-seconds per request ÷ capacity, inf where a class is not
    admitted; ``energy_j`` (K,), joules per request above idle; ``gpus`` in a replica; ``idle_w`` of
    an idle replica above the system's idle; ``quality``; ``oddities``, bits that none may have who
    takes the place of one without (0). ``per_system``: accelerators in a system.
    Raises ``ValueError`` naming the candidate and the field.
    """

class _ClosedLoop(TypedDict):
    ttft_s: float
    tpot_s: float
    output_tokens_per_s_gpu: float
    running: float  # requests whose caches are in memory at once

class _PoolLoop(TypedDict):
    ttft_s: float
    tpot_s: float
    output_tokens_per_s_gpu: float
    output_tokens_per_s_decode_gpu: float

class _Throughput(TypedDict):
    sequences: float
    utilisation: float
    output_tokens_per_s_gpu: float
    stopped_by: str | None

def closed_loop(
    space: Space, axes: Sequence[int], degrees: Sequence[int], load: Sequence[float]
) -> _ClosedLoop | None:
    """Means of a benchmark at fixed concurrency.

    ``axes`` (6,): index of the workload, then positions on its axes of system, engine, precision,
    KV dtype and speculation. ``degrees`` (4,): tp, pp, ep, attention dp. ``load`` (3,): requests in
    flight, prompt tokens, output tokens. ``None``: no layout, or no kernel.
    """

_Pool = tuple[Sequence[int], Sequence[int], int]

def pool_loop(
    space: Space, prefill: _Pool, decode: _Pool, load: Sequence[float]
) -> _PoolLoop | None:
    """The same of a pool that reads prompts and one that answers them.

    Output tokens/s per accelerator of both pools, and per accelerator that decodes. A pool:
    ``axes``, ``degrees`` and workers. ``None``: no layout, no kernel, or no link
    over which the cache could go.
    """

def throughput(
    space: Space,
    axes: Sequence[int],
    degrees: Sequence[int],
    batch: int,
    *,
    reserved: bool = False,
    requests: float = ...,
    limited: bool = False,
    replicas: float = 1.0,
) -> _Throughput | None:
    """The most that one layout serves of the workload's first class.

    ``sequences`` in decode on the whole replica; ``utilisation``, the share of full load that
    limits allow; ``stopped_by``, the limit that stops it. ``axes`` and ``degrees`` as in
    :func:`closed_loop`. At most ``batch`` sequences decode.
    ``reserved``: caches are reserved whole; else they hold the mean context. ``requests`` in a run
    (infinite: its end does not matter). ``limited``: the workload's latency limits hold too, and
    so many equal ``replicas`` share the requests behind one router.
    ``None``: no layout, no kernel for it, or not one sequence fits.
    """

def system_year(ownership: dict[str, Any]) -> _SystemYear:
    """Yearly cost of one system from the fields of an ``Ownership`` (with units: ``tco.rs``).

    Raises ``ValueError`` naming a missing, unknown or impossible field.
    """

def kwh_it_cost(terms: dict[str, float]) -> _KwhCost:
    """USD per kWh at the IT equipment, by item, from the fields of ``KwhTerms`` (``tco.rs``).

    Tariff and carbon are paid on utility energy, water on IT energy.

    Raises ``ValueError`` naming a missing, unknown or impossible field.
    """

def discount_factor(rate: float, years: float) -> float:
    """Worth today of a dollar paid so many years from now, at a rate per year."""

def flow_weight(rate: float, start: float, end: float) -> float:
    """Worth today of a dollar a year paid from ``start`` to ``end``, in years from now.

    A whole year weighs ``1 / (1 + rate)``: paid at its end, as an annuity is.

    Raises ``ValueError`` naming an impossible number.
    """

def book_value(rate: float, life_years: float, residual_fraction: float, age: float) -> float:
    """Share of its capex that a system is worth at an age, if every year costs the same.

    Raises ``ValueError`` naming an impossible number.
    """

def market_value(points: Sequence[tuple[float, float]], age: float) -> float:
    """Share of the price at an age: ``points`` of (age, share), joined by straight lines.

    Raises ``ValueError`` where there are none, or their ages do not ascend.
    """

def user_cost_usd(
    rate: float, price_usd: float, years: tuple[float, float], shares: tuple[float, float]
) -> float:
    """Worth today of holding a system from ``years[0]`` to ``years[1]``, in USD.

    ``shares`` of its price are what it would bring at both dates.

    Raises ``ValueError`` naming an impossible number.
    """

def usd_per_mtok(usd_per_gpu_h: float, tokens_per_s_gpu: float) -> float:
    """USD per million tokens at full load: ``(USD/GPU-h) / (tokens/s/GPU × 0.0036)``."""

def usd_per_mtok_delivered(annual_usd: float, tokens_per_year: float) -> float:
    """USD per million tokens from a year's cost and a year's tokens."""

def route_fleets(
    a: _Reals,
    cost: _Reals,
    b0: _Reals,
    per_part: _Reals,
    usual: _Reals,
    weights: _Reals,
    demands: int,
    fleets: _Reals,
    demand: float = 1.0,
    threads: int = 0,
) -> dict[str, NDArray[Any]]:
    """Best routing of every fleet (N, parts): `min cost @ x, a @ x <= b0 + per_part @ fleet`.

    The first `demands` rows are equalities with unmet demand. Returns `cost` (N,) without unmet
    demand, `unmet` (N, demands), `figures` (N, F) = x @ `weights` (C, F), the certified relative
    `gap` (N,; NaN: not certified) and `pivots` (N,).

    Raises:
        ValueError: shapes that do not agree, or a number that is not finite or below zero.
    """

@final
class Splicer:
    """Writes one Parquet file from the row groups of others, copied as they are encoded.

    Args:
        target: The file to write; it is there and empty.
        like: A Parquet file of the schema, with or without rows.

    Raises:
        OSError: A file cannot be read or written, is damaged, or has another schema; names it.
    """

    def __new__(cls, target: str | PathLike[str], like: str | PathLike[str]) -> Splicer: ...
    def append(self, path: str | PathLike[str]) -> int:
        """Appends all row groups of a file; returns its rows."""

    def close(self) -> None:
        """Writes the footer."""

def file_checksum(path: str | PathLike[str]) -> str:
    """XXH3-128 of a file's bytes, 32 hexadecimal digits: finds accidents, not forgers.

    Raises:
        OSError: The file cannot be read.
    """
