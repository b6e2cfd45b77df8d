"""Where work runs: options, and the engine that they name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from tokenfleet.compute import ComputeEngine

EngineOption = Annotated[
    str, typer.Option("--engine", help="Where work runs: on this machine, or `ray`.")
]
AddressOption = Annotated[
    str | None,
    typer.Option("--ray-address", help="Ray cluster; default: RAY_ADDRESS, or one started here."),
]
JobsOption = Annotated[
    int | None, typer.Option("--jobs", "-j", help="Pieces at a time; default: one for each core.")
]
Where = tuple[str, int | None, str | None]  # engine, jobs, address of a Ray cluster


def opened(where: Where) -> ComputeEngine:
    """The engine that was asked for.

    Raises:
        SchemaError: there is no such engine, or an address without a cluster to find there.
    """
    from tokenfleet.compute import open_engine

    name, jobs, address = where
    if address is not None and name != "ray":
        from tokenfleet.errors import SchemaError

        raise SchemaError(f"--ray-address {address}: without --engine ray", "add --engine ray")
    return open_engine(name, jobs, **({"address": address} if name == "ray" else {}))
