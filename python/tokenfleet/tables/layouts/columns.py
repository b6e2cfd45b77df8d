"""What a row of a candidate file may say, and what is answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tokenfleet._core import CANDIDATE_ANSWERS, CANDIDATE_NUMBERS
from tokenfleet.errors import SchemaError
from tokenfleet.schema import did_you_mean
from tokenfleet.tables.source import LABEL

# A layout's names, degrees and speculation; rows that agree in all of them share its tables.
TEXTS = ("system", "model", "precision", "engine", "kv")
COUNTS = ("tp", "pp", "ep", "attention_dp", "speculative_depth")
SHARES = ("acceptance", "draft_cost_fraction")
KEYS = (*TEXTS, *COUNTS, *SHARES)
NUMBERS = CANDIDATE_NUMBERS  # the first two must be there
KNOWN = (LABEL, *KEYS, *NUMBERS)
_REQUIRED = ("system", "model", "precision", "input_tokens", "output_tokens")
_ALIASES = {
    "rate": "rate_rps",
    "isl": "input_tokens",
    "osl": "output_tokens",
    "input_length": "input_tokens",
    "output_length": "output_tokens",
    "kv_dtype": "kv",
}

# Closed loops only: files without a concurrency do not have them.
MEANS = CANDIDATE_ANSWERS[-2:]
ANSWERS = ("fits", "status", *CANDIDATE_ANSWERS[:-2], "provenance")
LARGER_IS_BETTER = ("output_tokens_per_s", "output_tokens_per_s_per_gpu")


def named(header: Sequence[str], source: str) -> dict[str, str]:
    """Columns of a file by the names used here.

    Raises:
        SchemaError: a column that is unknown, there twice or missing; names file and column.
    """
    found: dict[str, str] = {}
    for column in header:
        name = _ALIASES.get(column, column)
        if name not in KNOWN:
            raise SchemaError(
                f"{source}: column {column[:60]!r}: unknown", did_you_mean(column, KNOWN)
            )
        if name in found:
            raise SchemaError(
                f"{source}: column {name!r}: is there twice", f"keep one of its names: {column!r}"
            )
        found[name] = column
    missing = [name for name in _REQUIRED if name not in found]
    if missing:
        raise SchemaError(
            f"{source}: no column {missing[0]!r}", f"every row needs {', '.join(_REQUIRED)}"
        )
    if "concurrency" not in found and "rate_rps" not in found:
        raise SchemaError(
            f"{source}: no column 'concurrency' or 'rate_rps'",
            "give requests in flight (a benchmark), or requests per second (production)",
        )
    return found


def answers(columns: Mapping[str, str]) -> tuple[str, ...]:
    """Names of the answers to a file with these columns."""
    means = MEANS if "concurrency" in columns else ()
    cut = ANSWERS.index("watts")
    return (*ANSWERS[:cut], *means, *ANSWERS[cut:])
