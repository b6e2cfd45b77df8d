"""The axes of a workload's layout space: degrees, batches, class sets and formats tried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

from tokenfleet.schema import LayoutSearch, RequestClass, Site, Speculation, Workload
from tokenfleet.schema.architecture import ModelArchitecture
from tokenfleet.schema.formats import KV_BYTES, kv_beside

BATCH_LIMITS = tuple(2**i for i in range(2, 13))
PIPELINE_STAGES = (1, 2, 4)
# Tensor parallelism past one server of eight is dominated by communication in every published
# serving recipe that the catalog knows; a scenario may ask for more.
TENSOR_PARALLEL = (1, 2, 4, 8, 16)


def degrees(search: LayoutSearch, model: ModelArchitecture) -> dict[str, list[int]]:
    """Degrees of parallelism to try; expert and attention-data parallelism need routed experts."""
    most = search.max_gpus_per_replica
    powers = [2**i for i in range(most.bit_length())]

    def allowed(chosen: Sequence[int] | None, default: Sequence[int]) -> list[int]:
        return sorted({d for d in (chosen or default) if d <= most})

    experts = model.is_moe
    return {
        "tp": allowed(search.tensor_parallel, TENSOR_PARALLEL),
        "pp": allowed(search.pipeline_parallel, PIPELINE_STAGES),
        "ep": allowed(search.expert_parallel, powers) if experts else [1],
        "adp": allowed(search.attention_data_parallel, powers) if experts else [1],
    }


def batch_limits(search: LayoutSearch) -> list[int]:
    """Batch limits, ascending."""
    return sorted(set(search.batch_limits or BATCH_LIMITS))


def class_sets(kind: str, count: int) -> list[int]:
    """Bit masks of the class sets that may share a replica.

    Classes are in canonical order, shortest prompts first: a run holds neighbours in length.
    """
    everything = range(count)
    sets: list[tuple[int, ...]]
    if kind == "singles":
        sets = [(k,) for k in everything]
    elif kind == "runs":
        sets = [tuple(range(i, j + 1)) for i in everything for j in range(i, count)]
    else:
        sets = [s for size in range(1, count + 1) for s in combinations(everything, size)]
    return sorted(sum(1 << k for k in members) for members in sets)


def speculation_axis(row: Speculation | None) -> list[dict[str, float]]:
    """Depth 0, then every depth up to the stated one."""
    axis = [{"depth": 0, "accepted": 1.0, "draft_cost": 0.0}]
    if row is not None:
        axis += [
            {"depth": d, "accepted": row.accepted(d), "draft_cost": row.draft_cost()}
            for d in range(1, row.max_depth + 1)
        ]
    return axis


def kv_formats(search: LayoutSearch) -> list[str]:
    """KV cache formats on the axis."""
    return sorted(set(search.kv_precisions or KV_BYTES))


def kv_allowed(search: LayoutSearch, precision: str, kv: str) -> bool:
    """Whether weights of a precision may have this KV format.

    Unless the scenario lists its formats, a cache has no fewer bits than the weights: a buyer who
    asks for full precision did not ask for a rounded cache.
    """
    return search.kv_precisions is not None or kv_beside(precision, kv)


def eligible_sites(workload: Workload, sites: Sequence[Site]) -> list[int]:
    """Sites that residency allows, as indices."""
    regions = workload.residency
    return [i for i, s in enumerate(sites) if regions is None or s.region in regions]


def round_trips_s(classes: Sequence[RequestClass], site: Site) -> tuple[float, ...]:
    """Round trip of each class to a site, s: the farthest of its origins; 0 when it states none."""

    def farthest(origins: Mapping[str, float]) -> float:
        return max(
            (site.round_trip_ms[o] for o, share in origins.items() if share > 0), default=0.0
        )

    return tuple(farthest(c.origin_shares) / 1e3 for c in classes)


def latency_groups(
    workload: Workload, classes: Sequence[RequestClass], sites: Sequence[Site]
) -> dict[tuple[float, ...], tuple[int, ...]]:
    """Eligible sites grouped by the round trips they have, nearest first."""
    groups: dict[tuple[float, ...], list[int]] = {}
    for i in eligible_sites(workload, sites):
        groups.setdefault(round_trips_s(classes, sites[i]), []).append(i)
    return {key: tuple(groups[key]) for key in sorted(groups)}
