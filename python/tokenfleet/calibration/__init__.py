"""This room learns from measured runs: constants of the model, biases, and how sure a figure is.

Data go one way: `points` (a measured run beside its prediction) ▸ `constants` and `biases` (two
robust fits) ▸ `folds` (the same fits with some points left out, which give the intervals) ▸ `fit` ▸
`record` (the calibration as it is kept) ▸ `corrector` (applies it). For example, if every measured
TPOT on a system is 10 % above the model's, its bias is 1.1 and each prediction is multiplied by it.
"""

from tokenfleet.calibration.constants import Study
from tokenfleet.calibration.corrector import Corrected, Corrector, corrected
from tokenfleet.calibration.fit import add, calibrate
from tokenfleet.calibration.folds import LeftOut, left_out_by_level
from tokenfleet.calibration.record import Calibration, Constant, Effect, Spread
from tokenfleet.calibration.runs import CENTRE, LEVELS, METRICS, TIMES, MeasuredRun
from tokenfleet.catalog.load import CALIBRATION as SHIPPED

__all__ = [
    "CENTRE",
    "LEVELS",
    "METRICS",
    "SHIPPED",
    "TIMES",
    "Calibration",
    "Constant",
    "Corrected",
    "Corrector",
    "Effect",
    "LeftOut",
    "MeasuredRun",
    "Spread",
    "Study",
    "add",
    "calibrate",
    "corrected",
    "left_out_by_level",
]
