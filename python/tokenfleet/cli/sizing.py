"""`quick`: a sizing question in one line."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tokenfleet.cli.answer import answering, console, note, say, say_json
from tokenfleet.cli.files import refuse_existing, write_atomic
from tokenfleet.cli.options import CatalogOption, ForceOption, JsonOption, book
from tokenfleet.cli.progress import searching

if TYPE_CHECKING:
    from tokenfleet.catalog import Catalog
    from tokenfleet.plan.rows import Plan
    from tokenfleet.sizing.answer import Answer
    from tokenfleet.sizing.question import Question

_WARNINGS = 5  # shown; the scenario's own plan has all


def quick(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Model, an id of the catalog.")],
    rate: Annotated[
        float | None,
        typer.Option(
            "--rate", help="Mean demand, requests/s; blank: as much as --budget and --mw serve."
        ),
    ] = None,
    rates: Annotated[
        str | None, typer.Option("--rates", help="Several demands, as 25,50,100: a table.")
    ] = None,
    given: Annotated[float, typer.Option("--input", help="Input tokens of a request.")] = 1024,
    made: Annotated[float, typer.Option("--output", help="Output tokens of a request.")] = 256,
    ttft: Annotated[
        float | None, typer.Option("--ttft", help="Limit on the time to first token, ms.")
    ] = None,
    tpot: Annotated[
        float | None, typer.Option("--tpot", help="Limit on the time per output token, ms.")
    ] = None,
    percentile: Annotated[
        str, typer.Option("--percentile", help="Of both limits: mean, p50, p90, p95 or p99.")
    ] = "p95",
    budget: Annotated[
        float | None, typer.Option("--budget", help="Most that a year may cost, USD.")
    ] = None,
    mw: Annotated[
        float | None, typer.Option("--mw", help="Power of the site at the meter, MW.")
    ] = None,
    systems: Annotated[
        str | None, typer.Option("--systems", help="Systems allowed, as h100_sxm_8,b200_sxm_8.")
    ] = None,
    get: Annotated[str, typer.Option("--get", help="Offers that count: any, buy or rent.")] = "any",
    api: Annotated[
        str | None,
        typer.Option(
            "--api",
            help="A hosted API as INPUT,OUTPUT in USD per million tokens; you "
            "state that it meets the limits.",
        ),
    ] = None,
    price: Annotated[
        float | None,
        typer.Option(
            "--price", help="What a million output tokens sell for, USD: adds margin and payback."
        ),
    ] = None,
    save: Annotated[
        Path | None,
        typer.Option("--save", "-o", help="Write the scenario that the first answer stands for."),
    ] = None,
    catalog: CatalogOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Size a fleet for one model in one line: the cheapest plan, and three others beside it."""
    with answering(as_json):
        refuse_existing(save, force)
        from tokenfleet.errors import SchemaError
        from tokenfleet.sizing.question import Question

        several = None if rates is None else _numbers("--rates", rates)
        if several is not None and rate is not None:
            raise SchemaError("--rate beside --rates", "give one demand, or a list of them")
        if price is not None and not (math.isfinite(price) and price > 0):
            raise SchemaError(f"--price {price:g}: must be above 0", "give a positive number")
        if several is not None and save is not None:
            raise SchemaError(
                "--save writes the scenario of one demand, and --rates asks for several",
                "save one of them: --rate R --save FILE",
            )
        question = Question(
            model=model,
            rate_rps=several[0] if several else rate,
            input_tokens=given,
            output_tokens=made,
            ttft_ms=ttft,
            tpot_ms=tpot,
            percentile=percentile,
            budget_usd_per_year=budget,
            power_mw=mw,
            systems=None if systems is None else tuple(_names(systems)),
            get=_get(get),
            api_usd_per_mtok=None if api is None else _pair(api),
        )
        known = book(catalog)
        if several is not None:
            _say_rates(question, several, known, as_json)
            return
        answers = _answers(question, known, price, as_json)
        if save is not None:
            from tokenfleet.sizing.question import as_yaml

            asked = " ".join(["tokenfleet", *sys.argv[1:]])
            write_atomic(save, as_yaml(answers[0].scenario, asked), force)
            note(f"wrote {save}; go on with: tokenfleet plan {save}")
        elif not as_json:
            say("the scenario behind it, to go on with: add -o FILE")


def _answers(
    question: Question, catalog: Catalog | None, price: float | None, as_json: bool
) -> list[Answer]:
    """Every answer, each shown as soon as it is there."""
    from tokenfleet.sizing.answer import quick as solve

    found: list[Answer] = []
    for answer in _watched(solve(question, catalog)):
        if not found and not as_json:
            _say_first(question, answer, price)
        found.append(answer)
    if as_json:
        say_json({"answers": [{**a.to_json(), "sold": _sold(a, price)} for a in found]})
    else:
        from tokenfleet.report.sizing import beside

        beside(found, console())
        if found[0].plan is not None:
            _say_notes(found[0].plan)
    return found


def _watched(answers: Iterable[Answer]) -> Iterable[Answer]:
    """The answers, with a clock on standard error while the first is solved."""
    rest = iter(answers)
    with searching("solving"):
        first = next(rest)
    yield first
    yield from rest


def _say_first(question: Question, answer: Answer, price: float | None) -> None:
    from tokenfleet.report import words
    from tokenfleet.report.terminal import summary

    plan = answer.plan
    if plan is None:
        return
    console().print(summary(plan))
    limit = None if question.power_mw is None else question.power_mw * 1000.0
    for line in (words.hosted_off_site(plan, limit), *_sale(answer, price)):
        if line is not None:
            say(line)


def _say_notes(plan: Plan) -> None:
    """What the first answer rests on, and what to know before signing."""
    from tokenfleet.report import words

    assumed = words.assumed_briefly(plan)
    warned = [f"warning: {text}" for text in words.warnings(plan)[:_WARNINGS]]
    for line in [*([] if assumed is None else [assumed]), *warned]:
        say(line)


def _sale(answer: Answer, price: float | None) -> list[str]:
    from tokenfleet.report import words
    from tokenfleet.sizing.margin import margin_of

    if price is None or answer.plan is None:
        return []
    return [words.sold(answer.plan, margin_of(answer.plan, price))]


def _sold(answer: Answer, price: float | None) -> dict[str, Any] | None:
    from tokenfleet.sizing.margin import margin_of

    if price is None or answer.plan is None:
        return None
    return asdict(margin_of(answer.plan, price))


def _say_rates(
    question: Question, rates: list[float], catalog: Catalog | None, as_json: bool
) -> None:
    from tokenfleet.sizing.answer import quick_rates

    rows = list(quick_rates(question, rates, catalog))
    if as_json:
        say_json({"rates": [{"requests_per_s": rate, **a.to_json()} for rate, a in rows]})
        return
    from tokenfleet.report.sizing import rates as show

    show(rows, console())


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _numbers(option: str, text: str) -> list[float]:
    from tokenfleet.errors import SchemaError

    try:
        found = [float(part) for part in _names(text)]
    except ValueError:
        raise SchemaError(f"{option} {text}: not numbers", "write them as 25,50,100") from None
    if not found:
        raise SchemaError(f"{option}: is empty", "write numbers as 25,50,100")
    return found


def _pair(text: str) -> tuple[float, float]:
    from tokenfleet.errors import SchemaError

    found = _numbers("--api", text)
    if len(found) != 2:
        raise SchemaError(f"--api {text}: needs two prices", "write INPUT,OUTPUT as 0.6,0.8")
    return found[0], found[1]


def _get(text: str) -> Any:
    from tokenfleet.errors import SchemaError

    if text not in ("any", "buy", "rent"):
        raise SchemaError(f"--get {text}: not known", "write any, buy or rent")
    return text
