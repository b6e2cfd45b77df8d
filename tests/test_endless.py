"""What nobody would wait for is refused before it begins, with how much that would be."""

from __future__ import annotations

import pytest

from tokenfleet.errors import SchemaError
from tokenfleet.simulation.fleet import Failures, refuse_endless_failures
from tokenfleet.simulation.run import Measured, refuse_endless
from tokenfleet.simulation.settings import SimulationSettings


def test_hours_that_are_too_many() -> None:
    """1e9 measured requests and 5 % before them, eight times: 8.4e9; an eighth of 1e9 has room for
    0.119 of a replication, so for 119 of its 1,000 hours. At 300,000 a second they take 7.78 h."""
    size = Measured(span_s=3.6e6, requests=10**9, warmup=0.05)
    settings = SimulationSettings(hours=1000.0, replications=8)
    with pytest.raises(SchemaError) as caught:
        refuse_endless("chat", settings, size, replayed=False)
    assert "chat: 1.05e+09 requests in each of 8 replications are 8.4e+09" in caught.value.message
    assert "about 7.78 hours" in caught.value.message
    assert "measure at most 119 hours" in caught.value.hint


def test_a_trace_is_held_in_memory_and_may_have_fewer() -> None:
    size = Measured(span_s=3600.0, requests=10**8, warmup=0.05)
    settings = SimulationSettings(requests=10**8, replications=1)
    refuse_endless("chat", settings, size, replayed=False)
    with pytest.raises(SchemaError) as caught:
        refuse_endless("chat", settings, size, replayed=True)
    assert "at most 95,238,000 requests" in caught.value.hint


def test_replications_of_next_to_nothing() -> None:
    settings = SimulationSettings(requests=1, replications=10**9)
    with pytest.raises(SchemaError, match="1,000,000,000 replications"):
        refuse_endless("chat", settings, Measured(1.0, 1, 0.05), replayed=False)


def test_failures_without_end() -> None:
    """A replica-year of 8 replications with a failure every millisecond."""
    often = Failures(mtbf_h=5e-10 / 3.6, mttr_h=5e-10 / 3.6)
    settings = SimulationSettings(replications=8)
    with pytest.raises(SchemaError, match="failures; at most"):
        refuse_endless_failures("chat", often, settings, 8760 * 3600.0)
    refuse_endless_failures("chat", Failures(2000, 6), settings, 8760 * 3600.0)
