"""Parts of a server: cloud instances of one, two or four of its accelerators, by their name.

`h100_sxm_1` is one accelerator of `h100_sxm_8`: the accelerator's own figures are the server's, the
link joins as many as there are. What belongs to the machine around them (power, height, network) is
not a share of the server's, and stays blank: a part is rented at a price of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from tokenfleet.catalog.book import Catalog
from tokenfleet.catalog.rows import SystemRow

_OF_THE_ACCELERATOR = {
    *("vendor", "accelerator", "form", "kernel_key", "cooling", "release_year", "tdp_w"),
    *("mem_gb", "mem_bw_tbps", "bf16_tflops", "fp8_tflops", "fp4_tflops", "int8_tops"),
    *("bf16_achievable_tflops", "fp8_achievable_tflops"),
    *("scale_up_gb_per_s_per_gpu", "source", "as_of"),
}
_NAME = re.compile(r"(?P<stem>.+)_(?P<gpus>\d+)")


def with_parts(catalog: Catalog, names: Iterable[str]) -> Catalog:
    """The catalog with those of these names that are parts of its servers."""
    rows = (part(catalog, name) for name in names if name not in catalog.systems)
    found = {row.id: row for row in rows if row is not None}
    return replace(catalog, systems={**catalog.systems, **found}) if found else catalog


def priced_parts(catalog: Catalog, vintage: str | None = None) -> tuple[str, ...]:
    """Parts of servers that an edition of the price book (None: the newest) has prices of."""
    editions = catalog.vintages[-1:] if vintage is None else (vintage,)
    named = dict.fromkeys(p.system for p in catalog.prices if p.vintage in editions)
    return tuple(n for n in named if n not in catalog.systems and part(catalog, n) is not None)


def part(catalog: Catalog, name: str) -> SystemRow | None:
    """The row of a part of a server; None where the name is of none."""
    asked = _NAME.fullmatch(name)
    if asked is None:
        return None
    gpus = int(asked["gpus"])
    for whole in catalog.systems.values():
        own = _NAME.fullmatch(whole.id)
        alike = own is not None and own["stem"] == asked["stem"] and whole.form == "server"
        if alike and whole.gpus is not None and 0 < gpus < whole.gpus and whole.gpus % gpus == 0:
            return _cut(whole, name, gpus)
    return None


def _cut(whole: SystemRow, name: str, gpus: int) -> SystemRow:
    domain = whole.scale_up_domain
    return SystemRow(
        id=name,
        gpus=gpus,
        scale_up_domain=None if domain is None else min(gpus, domain),
        notes=f"{gpus} of the {whole.gpus} accelerators of {whole.id}",
        **whole.model_dump(include=_OF_THE_ACCELERATOR),
    )
