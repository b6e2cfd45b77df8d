"""Facts with source and date: systems, models, prices, cost parameters, lengths, kernel fits."""

from tokenfleet.catalog.book import Catalog, require
from tokenfleet.catalog.kernels import AcceleratorKernels, EngineKernels, Kernels
from tokenfleet.catalog.load import load_catalog, merge_files
from tokenfleet.catalog.rows import (
    ApiRow,
    ClassRow,
    LengthRow,
    ModelRow,
    PointRow,
    PriceRow,
    QualityRow,
    SystemRow,
    TcoRow,
)

__all__ = [
    "AcceleratorKernels",
    "ApiRow",
    "Catalog",
    "ClassRow",
    "EngineKernels",
    "Kernels",
    "LengthRow",
    "ModelRow",
    "PointRow",
    "PriceRow",
    "QualityRow",
    "SystemRow",
    "TcoRow",
    "load_catalog",
    "merge_files",
    "require",
]
