"""`compare`: the model beside published figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from tokenfleet.cli.answer import answering, say, say_json
from tokenfleet.cli.grid import brief, show_grid
from tokenfleet.cli.options import CatalogOption, JsonOption, book


def compare(
    first: Annotated[str, typer.Argument(help="System to compare with.")] = "h200_sxm_8",
    second: Annotated[str, typer.Argument(help="System that is compared.")] = "gb300_nvl72",
    model: Annotated[str, typer.Option("--model", help="Catalog id of the model.")] = "deepseek-r1",
    tokens_s_user: Annotated[
        float, typer.Option("--speed", help="Output tokens per second of one user.")
    ] = 150.0,
    isl: Annotated[int, typer.Option("--input", min=1, help="Input tokens.")] = 8192,
    osl: Annotated[int, typer.Option("--output", min=1, help="Output tokens.")] = 1024,
    catalog: CatalogOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare two systems on one model: published figures beside the model's own."""
    with answering(as_json):
        from tokenfleet.points.compare import compare as compare_systems

        how: dict[str, Any] = {"tokens_s_user": tokens_s_user, "isl": isl, "osl": osl}
        found = compare_systems(first, second, model, **how, catalog=book(catalog))
        if as_json:
            say_json(found.to_json())
            return
        say(f"{first} and {second} on {model}, {isl}/{osl} tokens")
        dates = " and ".join(dict.fromkeys(day or "undated" for day in found.price_as_of))
        tier = found.price_tier.replace("_", " ")
        say(f"prices: {tier} cost, price book {found.price_vintage}, as of {dates}")
        titles = {"basis": "basis", "metric": "metric", "first": first, "second": second}
        table(found.rows(), {**titles, "ratio": "ratio"})
        for text in found.notes:
            say(f"  {text}")


def table(rows: Sequence[Mapping[str, Any]], titles: Mapping[str, str]) -> None:
    """Columns by title; what the first column repeats is shown once and starts a section."""
    first, *others = titles
    firsts = [row[first] for row in rows]
    new = [i for i, value in enumerate(firsts) if i == 0 or value != firsts[i - 1]]
    cells = [
        [brief(row[first]) if i in new else "", *(brief(row[name]) for name in others)]
        for i, row in enumerate(rows)
    ]

    def number(name: str) -> bool:
        return any(isinstance(row[name], int | float) for row in rows)

    show_grid([(title, number(name)) for name, title in titles.items()], cells, sections=new[1:])
