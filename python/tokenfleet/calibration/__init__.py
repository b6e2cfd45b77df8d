"""What measured runs teach the model: constants, biases, and how sure a figure is.

Data go one way: `points` (measured beside predicted) ▸ `constants` and `biases` (two robust fits)
▸ `folds` (the same fits with points left out, which make the intervals) ▸ `fit` ▸ `record` (what is
kept) ▸ `corrector` (applies it).
"""

from tokenfleet.calibration.constants import Study
from tokenfleet.calibration.corrector import Corrected, Corrector, corrected
from tokenfleet.calibration.fit import calibrate
from tokenfleet.calibration.folds import LeftOut, left_out_by_level
from tokenfleet.calibration.points import CENTRE, LEVELS, METRICS, TIMES, Point
from tokenfleet.calibration.record import Calibration, Constant, Effect, Spread
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
    "Point",
    "Spread",
    "Study",
    "calibrate",
    "corrected",
    "left_out_by_level",
]
