"""The space of configurations, one integer each."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from reference.layout import Layout, is_layout
from reference.memory import fits
from reference.replicas import Replica, replica
from reference.step import MissingFigureError, decode_s, node, prompt_attention_s
from reference.units import Json


@dataclass(frozen=True)
class Configuration:
    """One integer of the space."""

    id: int
    workload: int
    system: int
    layout: Layout | None
    kv: int
    batch_position: int
    batch: int
    members: list[int]
    fields: Json


def roles(w: Json) -> list[tuple[str, int]]:
    """Roles in canonical order."""
    splits = range(len(w["splits"]))
    return [("serve", -1), *(("prefill", i) for i in splits), *(("decode", i) for i in splits)]


def configurations(spec: Json) -> Iterator[Configuration]:
    """Every integer of the space, in order."""
    number = 0
    for index, w in enumerate(spec["workloads"]):
        axes = [
            w["systems"], w["engines"], w["precisions"], w["tp"], w["ep"], w["adp"],
            w["pp"], w["kv"], w["speculation"], roles(w),
            list(enumerate(w["batches"])), w["class_sets"],
        ]  # fmt: skip
        for digits in itertools.product(*axes):
            yield configuration(spec, index, number, digits)
            number += 1


def configuration(spec: Json, index: int, number: int, digits: tuple[Any, ...]) -> Configuration:
    """The integer with these positions."""
    system, engine, precision, tp, ep, adp, pp, kv, speculation, role, batch, mask = digits
    w = spec["workloads"][index]
    members = [k for k in range(len(w["classes"])) if mask >> k & 1]
    kernels = [x for x in spec["kernels"] if (x["system"], x["engine"]) == (system, engine)]
    model, hardware = spec["models"][w["model"]], spec["systems"][system]
    layout = None
    allowed = w["kv_allowed"][w["precisions"].index(precision)][w["kv"].index(kv)]
    if allowed and kernels and is_layout(model, hardware, w, (tp, pp, ep, adp)):
        layout = Layout(
            spec, w, hardware, kernels[0], model, spec["precisions"][precision], kv,
            tp, pp, ep, adp, speculation, role[0], role[1],
        )  # fmt: skip
    fields = {
        "workload": w["id"],
        "system": hardware["id"],
        "engine": spec["engines"][engine]["id"],
        "precision": spec["precisions"][precision]["id"],
        "kv_dtype": spec["kv_dtypes"][kv]["id"],
        "tp": tp,
        "pp": pp,
        "ep": ep,
        "attention_dp": adp,
        "speculative_depth": speculation["depth"],
        "role": role[0],
        "ttft_split": None if role[0] == "serve" else w["splits"][role[1]],
        "batch_limit": batch[1],
        "classes": [w["classes"][k]["id"] for k in members],
        "own_mix": False,
    }
    return Configuration(number, index, system, layout, kv, batch[0], batch[1], members, fields)


def has_figures(layout: Layout) -> bool:
    """Whether every kernel and link that the layout needs has a figure."""
    if layout.role != "serve" and layout.system["scale_out_bw"] is None:
        return False
    try:
        node(layout, 1.0, "decode")
        decode_s(layout, 1.0, 0.0)
        prompt_attention_s(layout, 1.0, 0.0)
    except MissingFigureError:
        return False
    return True


def rate(c: Configuration) -> Replica | str:
    """The replica of a configuration, or why there is none: ``no_layout`` or ``memory``."""
    layout = c.layout
    if layout is None or not has_figures(layout):
        return "no_layout"
    is_batch = c.batch % layout.lanes == 0
    if layout.role == "prefill":
        is_batch = c.batch_position == 0
    if not is_batch:
        return "no_layout"
    return replica(layout, float(c.batch)) if fits(layout, c.batch, c.members) else "memory"
