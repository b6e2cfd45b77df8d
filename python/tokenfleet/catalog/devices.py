"""Names of accelerators, servers and cloud instances, as systems of the catalog."""

from __future__ import annotations

import re

from tokenfleet.catalog.book import Catalog
from tokenfleet.catalog.rows import SystemRow
from tokenfleet.schema.near import nearest

_MEMORY = re.compile(r"(?:^|_)(?:\d+x_?)?(\d+)_?g(?:i?b|igabytes)?(?=_|$)")
# Memory that is stated without its unit: "A100-40", "H100 SXM 80". Of a TPU it counts chips.
_BARE_MEMORY = re.compile(r"_(16|24|32|40|48|64|80|94|96|128|141|144|18[0-9]|192|256|288)$")
_SIZE = re.compile(r"_(nvl|helios)?\d+$")
# What a name of an accelerator adds to its own: vendor, product line, kind of memory, form.
_VENDORS = {"nvidia", "tesla", "geforce", "amd", "instinct", "intel", "google", "aws"}
_FORMS = {"gpu", "gpus", "tensor", "core", "accelerator", "server", "edition", "se", "oam"}
_FORMS |= {"dgx", "hgx", "mgx", "graphics", "r", "tm", "aarch64", "nvl72"}
_ADDED = _VENDORS | _FORMS | {"hopper", "blackwell", "unstated"}
# How many of them a name counts: "8x NVIDIA H200", "8 H100", "H100 x 8", "HGX H100 8-GPU".
_COUNT = re.compile(r"^\d+(_?x_?|_)(?=[a-z])|(?<=[a-z0-9])_?x_?\d+$|_\d+_gpus?$")
# A count without a word: "H100-8"; "Gaudi 3" has none.
_BARE_COUNT = re.compile(r"_[1248]$")
_TIMES = re.compile(r"[*×✕]")
# Parts of an accelerator: "H100 MIG 3g.40gb", "A100 1g.10gb".
_SLICE = re.compile(r"(^|_)mig(_|$)|(^|_)\dg_\d+gb(_|$)")
# Products and instances of clouds that are sold under another name than their accelerator's.
_ALIASES = {
    "trillium": "tpu_6e",
    "ironwood": "tpu_7x",
    "tpu_v5_lite": "tpu_5e",
    "v5_lite": "tpu_5e",
    "v5litepod": "tpu_5e",
    "tpu_7": "tpu_7x",
    "tpu_v7": "tpu_7x",
    "tpuv7": "tpu_7x",
    "hl_325l": "gaudi3",
    "gaudi_3_hl_325l": "gaudi3",
    "gaudi3_hl_325l": "gaudi3",
    "trainium2": "trn2",
    "trn2_ultraserver": "trn2_ultra64",
    "trainium2_ultraserver": "trn2_ultra64",
    "trn2u": "trn2_ultra64",
    "trainium3": "trn3_ultra64",
    "inferentia2": "inf2",
    "mi350": "mi350x",
    "mi355": "mi355x",
    "vera_rubin": "vr200",
    "vr_nvl144": "vr200",
    "rtx_6000_pro": "rtx_pro_6000",
}
# Instances of clouds, by how their names begin, and the accelerator in them with its memory.
_INSTANCES = (
    (r"p4d_", "a100_sxm_40gb"),
    (r"p4de_", "a100_sxm_80gb"),
    (r"p5_", "h100_sxm_80gb"),
    (r"p5en?_", "h200_sxm_141gb"),
    (r"p6_b200_", "b200_sxm"),
    (r"p6_b300_", "b300_sxm"),
    (r"p6e_gb200_", "gb200"),
    (r"p6e_gb300_", "gb300"),
    (r"g6_", "l4_24gb"),
    (r"g6e_", "l40s_48gb"),
    (r"g7e_", "rtx_pro_6000_96gb"),
    (r"trn2_", "trn2"),
    (r"trn2u_", "trn2_ultra64"),
    (r"inf2_", "inf2"),
    (r"a2_highgpu_", "a100_sxm_40gb"),
    (r"a2_ultragpu_", "a100_sxm_80gb"),
    (r"a3_(high|mega|edge)gpu_", "h100_sxm_80gb"),
    (r"a3_ultragpu_", "h200_sxm_141gb"),
    (r"a4_highgpu_", "b200_sxm"),
    (r"a4x_highgpu_", "gb200"),
    (r"g2_standard_", "l4_24gb"),
)
_ON_AWS = re.compile(r"_(metal|\d*x?large)(_|$)")
_ON_GOOGLE = re.compile(r"gpu_\d+g(_|$)|^g2_standard_\d+$")
# Azure and Oracle name the accelerator within: "Standard_ND96isr_MI300X_v5", "BM.GPU.H100.8".
_WITHIN = re.compile(
    r"^(?:standard_)?n[dc]\w*?_(?P<azure>[a-z]+\d+\w*)_v\d$|^bm_gpu_(?P<oracle>\w+?)_\d+$"
)
_MEMORY_KIND = re.compile(r"(hbm|gddr|lpddr)\w*")
# Gigabytes are rounded, counted in binary, or less what the driver keeps; 40 and 80 are two cards.
_SAME_MEMORY = 0.1


class UnknownNameError(Exception):
    """A name without counterpart in the catalog, or a figure that a row does not state."""


def system(catalog: Catalog, name: str) -> str:
    """Catalog system of an accelerator's name.

    The name may be the system's id with or without its size, the accelerator's name or its key in
    the kernel calibration, a server's or a cloud instance's; vendor and product line do not matter,
    a bare name is the SXM form, and a memory size that it states must be the system's: of one
    accelerator, or of the whole system.
    """
    words = _instance(_words(name))
    if _SLICE.search(words):
        raise UnknownNameError(
            f"accelerator {name}: a slice of an accelerator, of which the catalog has none"
        )
    stated_gb = _stated_gb(words)
    alike = _called(catalog, _device(words))
    bare = None if alike else _BARE_MEMORY.search(words)
    if bare is not None:
        alike = _called(catalog, _device(words[: bare.start()]))
        chips = any(row.vendor == "Google" for row in alike)
        stated_gb = stated_gb if chips else float(bare[1])
    alike = alike or _called(catalog, _device(_BARE_COUNT.sub("", words)))
    for row in alike:
        if stated_gb is None or _has_memory(row, stated_gb):
            return row.id
    if alike:
        has = " and ".join(f"{row.id} has {row.mem_gb:g} GB" for row in alike)
        raise UnknownNameError(f"accelerator {name}: of that name the catalog's {has}")
    near = nearest(_device(words), sorted(catalog.systems))
    beside = f": did you mean {', '.join(near)}?" if near else ""
    raise UnknownNameError(f"accelerator {name} is not in the catalog{beside}")


def _called(catalog: Catalog, wanted: str) -> list[SystemRow]:
    return [row for row in catalog.systems.values() if _is_called(row, wanted)]


def _is_called(row: SystemRow, wanted: str) -> bool:
    size = _SIZE.sub("", row.id)
    keys = {row.id, size, row.kernel_key}
    keys |= {_device(_words(name)) for name in (row.accelerator, size, row.id)}
    return wanted in keys or f"{wanted}_sxm" in keys


def _has_memory(row: SystemRow, stated_gb: float) -> bool:
    if row.mem_gb is None:
        return True
    sizes = (row.mem_gb, row.mem_gb * (row.gpus or 1))
    return any(abs(stated_gb / gb - 1.0) <= _SAME_MEMORY for gb in sizes)


def _words(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", _TIMES.sub("x", name.lower())).strip("_")


def _instance(words: str) -> str:
    """The accelerator in a cloud's instance, with its memory; any other name as it is."""
    within = _WITHIN.search(words)
    if within is not None:
        return str(within["azure"] or within["oracle"])
    if _ON_AWS.search(words) or _ON_GOOGLE.search(words):
        return next((own for form, own in _INSTANCES if re.match(form, words)), words)
    return words


def _stated_gb(words: str) -> float | None:
    found = _MEMORY.search(words)
    return float(found[1]) if found else None


def _device(words: str) -> str:
    """An accelerator's own name, without what people add to it."""
    kept = _kept(_COUNT.sub("", _MEMORY.sub("", words).strip("_")))
    plain = _ALIASES.get(kept, kept)
    return re.sub(r"^(tpu_?)?v?(?=\d[a-z]|7x)", "tpu_", plain)


def _kept(words: str) -> str:
    parts = [w for w in words.split("_") if w and w not in _ADDED and not _MEMORY_KIND.fullmatch(w)]
    # SXM4 and SXM5 are the one socket of their generation; "TPU v7x" is TPU7x.
    return re.sub(r"_sxm\d(?=_|$)", "_sxm", "_".join(parts))
