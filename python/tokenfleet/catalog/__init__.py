"""This room holds facts with their source and date: systems, models, prices, terms, kernel fits.

`load` reads the shipped files in `data/` and those of the user, which add rows or replace them;
`rows` says what a row may hold; `book` answers questions such as `catalog.system("h100_sxm_8")`. A
blank cell stays blank: whoever needs the figure gets an error that names the file, the row and the
field.
"""

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
