"""Candidate files: answers against the rater and by hand, all formats alike, faults, resuming."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from test_cli import run

pa = pytest.importorskip("pyarrow")
pl = pytest.importorskip("polars")

import pyarrow.parquet  # noqa: E402

from tokenfleet._core import Space  # noqa: E402
from tokenfleet._core import closed_loop as closed_loop_of  # noqa: E402
from tokenfleet.catalog import load_catalog  # noqa: E402
from tokenfleet.compute import open_engine  # noqa: E402
from tokenfleet.errors import SchemaError  # noqa: E402
from tokenfleet.points.rates import Layout, TypicalRequest, open_loop, plain_scenario  # noqa: E402
from tokenfleet.problem.specification import build_specification  # noqa: E402
from tokenfleet.scenario.load import load_scenario  # noqa: E402
from tokenfleet.schema import Speculation  # noqa: E402
from tokenfleet.tables import source  # noqa: E402
from tokenfleet.tables.layouts import FileOptions, evaluate_file  # noqa: E402
from tokenfleet.tables.layouts.rows import result_schema  # noqa: E402
from tokenfleet.tables.select import condition  # noqa: E402

CLOSED = {
    "system": "h100_sxm_8",
    "model": "llama-3.1-70b",
    "precision": "fp8",
    "engine": "vllm",
    "kv": "fp8",
    "tp": 4,
    "input_tokens": 1000,
    "output_tokens": 200,
    "concurrency": 32.0,
    "rate_rps": None,
    "price_usd_per_gpu_h": 2.0,
    "tariff_usd_per_kwh": 0.1,
    "pue": 1.2,
}
OPEN = {**CLOSED, "concurrency": None, "rate_rps": 3.0}


def table(*rows: dict[str, Any]) -> Any:
    """Rows as an Arrow table."""
    return pa.Table.from_pylist(list(rows))


def written(tmp_path: Path, *rows: dict[str, Any], **options: Any) -> list[dict[str, Any]]:
    """Results of rows that went through a Parquet file."""
    path, output = tmp_path / "in.parquet", tmp_path / "out.parquet"
    pyarrow.parquet.write_table(table(*rows), path)
    evaluate_file(path, output, FileOptions(force=True, **options))
    results: list[dict[str, Any]] = pyarrow.parquet.read_table(output).to_pylist()
    return results


def rejects(tmp_path: Path) -> list[dict[str, Any]]:
    """Rejected rows of the last file."""
    side = tmp_path / "out.parquet.rejected.csv"
    return pl.read_csv(side, infer_schema=False).to_dicts() if side.exists() else []


def mixed(rows: int) -> Any:
    """Layouts, loads and lengths of all kinds, some of them wrong."""
    random = np.random.default_rng(7)
    systems = ["h100_sxm_8", "mi300x_8", "l40s_8", "nosuch"]
    closed = random.random(rows) < 0.3
    return pa.table(
        {
            "id": [f"row {i}" for i in range(rows)],
            "system": [systems[i] for i in random.integers(0, 4, rows)],
            "model": ["llama-3.1-8b" if x < 0.5 else "gpt-oss-120b" for x in random.random(rows)],
            "precision": ["bf16" if x < 0.7 else "fp8" for x in random.random(rows)],
            "tp": (1 << random.integers(0, 4, rows)).astype(np.int64),
            "input_tokens": random.integers(100, 9000, rows),
            "output_tokens": random.integers(1, 900, rows),
            "concurrency": pa.array(random.integers(1, 300, rows).astype(float), mask=~closed),
            "rate_rps": pa.array(random.uniform(0.01, 9, rows), mask=closed),
            "price_usd_per_gpu_h": random.uniform(1, 5, rows),
        }
    )


def closed_loop(drafts: Speculation | None = None) -> tuple[float, float, float]:
    """TTFT and TPOT in ms and tokens/s/GPU of the closed row, from a problem of its own."""
    data = plain_scenario(["llama-3.1-70b"])
    if drafts is not None:
        data["speculation"] = [drafts.model_dump(exclude_none=True)]
    spec = build_specification(load_scenario(data), ["h100_sxm_8"]).data
    precisions = [spec["precisions"][p]["id"] for p in spec["workloads"][0]["precisions"]]
    engines = [e["id"] for e in spec["engines"]]
    depth = drafts.max_depth if drafts else 0
    axes = (0, 0, engines.index("vllm"), precisions.index("fp8"), 1, depth)
    found = closed_loop_of(Space(json.dumps(spec)), axes, (4, 1, 1, 1), (32.0, 1000.0, 200.0))
    assert found is not None
    return 1e3 * found["ttft_s"], 1e3 * found["tpot_s"], found["output_tokens_per_s_gpu"]


# Answers


def test_a_closed_loop_is_the_models(tmp_path: Path) -> None:
    (row,) = written(tmp_path, CLOSED)
    ttft_ms, tpot_ms, tokens_s_gpu = closed_loop()
    assert row["fits"] and row["status"] == "ok" and row["row"] == 1
    assert row["ttft_mean_ms"] == pytest.approx(ttft_ms, rel=1e-12)
    assert row["tpot_mean_ms"] == pytest.approx(tpot_ms, rel=1e-12)
    assert row["output_tokens_per_s_per_gpu"] == pytest.approx(tokens_s_gpu, rel=1e-12)
    assert row["output_tokens_per_s"] == pytest.approx(4 * tokens_s_gpu, rel=1e-12)
    # 2 $/h and the energy of an accelerator, over its million tokens an hour.
    hour = 2.0 + row["watts"] / 4 / 1000 * 0.1 * 1.2
    assert row["cost_per_mtok_output_usd"] == pytest.approx(
        hour / (tokens_s_gpu * 0.0036), rel=1e-12
    )
    # Its percentiles are those of the same requests/s at random.
    (same,) = written(tmp_path, {**OPEN, "rate_rps": row["output_tokens_per_s"] / 200})
    for name in ("ttft_p50_ms", "ttft_p99_ms", "tpot_p50_ms", "tpot_p99_ms"):
        assert row[name] == pytest.approx(same[name], rel=1e-12)


def test_an_open_loop_is_the_models(tmp_path: Path) -> None:
    (row,) = written(tmp_path, OPEN)
    layout = Layout("h100_sxm_8", "llama-3.1-70b", "vllm", "fp8", "fp8", tp=4)
    rates = open_loop(load_catalog(), layout, 256, 3.0, TypicalRequest(1000, 200))
    assert rates is not None
    assert row["ttft_p50_ms"] == pytest.approx(rates.ttft_ms, rel=1e-5)
    assert row["tpot_p50_ms"] == pytest.approx(rates.tpot_ms, rel=1e-6)
    assert row["output_tokens_per_s"] == pytest.approx(3.0 * 200, rel=1e-12)
    assert row["ttft_p99_ms"] > row["ttft_p50_ms"] and row["tpot_p99_ms"] > row["tpot_p50_ms"]
    assert row["ttft_mean_ms"] is None and row["provenance"] == "calibrated"


def test_speculation_takes_its_acceptance_from_the_row(tmp_path: Path) -> None:
    drafts = {"speculative_depth": 3, "acceptance": 0.7, "draft_cost_fraction": 0.05}
    (row,) = written(tmp_path, {**CLOSED, **drafts})
    speculation = Speculation(
        model="llama-3.1-70b", max_depth=3, acceptance=0.7, draft_cost_fraction=0.05, source="here"
    )
    _, tpot_ms, _ = closed_loop(speculation)
    assert row["tpot_mean_ms"] == pytest.approx(tpot_ms, rel=1e-12)
    assert tpot_ms < closed_loop()[1]


def test_memory_capacity_and_blank_prices(tmp_path: Path) -> None:
    small = {**OPEN, "tp": 1, "precision": "bf16", "kv": "bf16"}  # 140 GB of weights on 80 GB
    much = {**OPEN, "rate_rps": 1e4}
    free = {**OPEN, "price_usd_per_gpu_h": None}
    bare = {**OPEN, "tariff_usd_per_kwh": None, "pue": None}
    rows = written(tmp_path, small, much, free, bare)
    assert [(r["fits"], r["status"]) for r in rows] == [
        (False, "memory"),
        (True, "above_capacity"),
        (True, "ok"),
        (True, "ok"),
    ]
    for name in ("output_tokens_per_s", "ttft_p99_ms", "watts", "cost_per_mtok_output_usd"):
        assert rows[0][name] is None and rows[1][name] is None
    assert rows[2]["cost_per_mtok_output_usd"] is None and rows[2]["watts"] > 0
    # 3 requests/s of 200 tokens on four accelerators at 2 $/h: 8 / 2.16.
    assert rows[3]["cost_per_mtok_output_usd"] == pytest.approx(8 / (3 * 200 * 3600 / 1e6))


def test_defaults_are_those_that_are_written_down(tmp_path: Path) -> None:
    bare = {k: v for k, v in OPEN.items() if k not in ("engine", "kv")}
    assert written(tmp_path, bare)[0]["ttft_p99_ms"] == written(tmp_path, OPEN)[0]["ttft_p99_ms"]
    aliased = {{"input_tokens": "isl", "output_tokens": "osl", "rate_rps": "rate"}.get(k, k): v
               for k, v in OPEN.items()}  # fmt: skip
    assert written(tmp_path, aliased)[0]["watts"] == written(tmp_path, OPEN)[0]["watts"]


# Rejected rows


@pytest.mark.parametrize(
    ("change", "column", "reason"),
    [
        ({"system": "h100_sx"}, "system", "did you mean h100_sxm_8"),
        ({"system": "rtx_pro_4500_se_8"}, "system", "no sourced mem_bw_tbps"),
        ({"system": None}, "system", "is blank"),
        ({"model": "gpt-9"}, "model", "unknown model"),
        ({"precision": "int3"}, "precision", "unknown precision"),
        ({"system": "a100_sxm_8"}, "precision", "does not compute in it"),
        ({"engine": "vlm"}, "engine", "did you mean vllm"),
        ({"system": "mi300x_8", "engine": "trtllm"}, "engine", "does not run"),
        ({"kv": "int8"}, "kv", "unknown cache format"),
        ({"tp": 3}, "tp", "no layout"),
        ({"tp": 0}, "tp", "whole number from 1"),
        ({"tp": -(2**40)}, "tp", "whole number from 1"),
        ({"tp": 4096, "pp": 4096}, "tp", "more than 4096"),
        ({"speculative_depth": 2}, "acceptance", "is blank beside"),
        ({"speculative_depth": 2, "acceptance": 1.5, "draft_cost_fraction": 0.1}, "acceptance", ""),
        ({"input_tokens": 0}, "input_tokens", "above 0"),
        ({"output_tokens": math.nan}, "output_tokens", "from 1"),
        ({"input_tokens": 10_000_000}, "input_tokens", "longer than the context"),
        ({"rate_rps": None}, "rate_rps", "and so is concurrency"),
        ({"concurrency": 3.0}, "rate_rps", "beside concurrency"),
        ({"rate_rps": -1.0}, "rate_rps", "above 0"),
        ({"rate_rps": math.inf}, "rate_rps", "above 0"),
        ({"rate_rps": None, "concurrency": 0.5}, "concurrency", "from 1"),
        ({"batch_limit": 2.5}, "batch_limit", "whole number"),
        ({"price_usd_per_gpu_h": math.nan}, "price_usd_per_gpu_h", "from 0"),
        ({"tariff_usd_per_kwh": -0.1}, "tariff_usd_per_kwh", "from 0"),
        ({"pue": 0.9}, "pue", "from 1"),
    ],
)
def test_a_wrong_row_is_named_and_costs_itself_only(
    tmp_path: Path, change: dict[str, Any], column: str, reason: str
) -> None:
    full = {**OPEN, "pp": 1, "speculative_depth": 0, "acceptance": None}
    full |= {"draft_cost_fraction": None, "batch_limit": None}
    rows = written(tmp_path, full, {**full, **change}, full)
    assert [r["row"] for r in rows] == [1, 3]
    assert rows[0]["watts"] == rows[1]["watts"]
    (bad,) = rejects(tmp_path)
    assert (bad["row"], bad["column"]) == ("2", column)
    assert reason in bad["reason"]


def test_text_that_is_no_number(tmp_path: Path) -> None:
    path, output = tmp_path / "in.csv", tmp_path / "out.parquet"
    path.write_bytes(
        b"\xef\xbb\xbfid,system,model,precision,tp,isl,osl,rate\r\n"
        b'"a\nb",h100_sxm_8,llama-3.1-8b,bf16,1,500,100,2\r\n'
        b'=cmd,h100_sxm_8,llama-3.1-8b,bf16,1,500,100,"1,5"\r\n'
        b"\r\n"
        b"short,h100_sxm_8,llama-3.1-8b\r\n"
        b"e,h100_sxm_8,llama-3.1-8b,bf16,1, 5e2 ,1e400,2\r\n"
        b"last,h100_sxm_8,llama-3.1-8b,bf16,1,500,100,2\r\n"
    )
    report = evaluate_file(path, output)
    rows = pyarrow.parquet.read_table(output).to_pylist()
    assert [(r["row"], r["id"]) for r in rows] == [(1, "a\nb"), (5, "last")]
    assert report.rows == 5 and report.rejected == 3
    found = {int(r["row"]): r for r in rejects(tmp_path)}
    assert "decimal point" in found[2]["reason"] and found[2]["value"] == "1,5"
    assert "has 3 cells, the header 8" in found[3]["reason"]
    assert found[4]["column"] == "output_tokens"


# Files


def test_every_format_and_every_cut_gives_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = mixed(900)
    pyarrow.parquet.write_table(rows, tmp_path / "a.parquet")
    whole = tmp_path / "whole.parquet"
    both = FileOptions(inputs=True)
    first = evaluate_file(tmp_path / "a.parquet", whole, both)
    assert 0 < first.rejected < 500 and all(first.counts.values())
    wanted = pl.read_parquet(whole)
    monkeypatch.setattr(source, "SLICE_ROWS", 70)
    monkeypatch.setattr(source, "PART_ROWS", 100)
    monkeypatch.setattr(source, "_CSV_PART", 2000)
    pyarrow.parquet.write_table(rows, tmp_path / "b.parquet", row_group_size=37)
    with pa.ipc.new_file(tmp_path / "c.arrow", rows.schema) as file:
        file.write_table(rows, max_chunksize=61)
    frame = pl.DataFrame(pl.from_arrow(rows))
    frame.write_csv(tmp_path / "d.csv")
    narrow = {"system": pl.Categorical, "tp": pl.UInt8, "input_tokens": pl.Float32}
    frame.cast(narrow).write_ipc(tmp_path / "e.arrow")  # text as views
    frame.cast(narrow).write_parquet(tmp_path / "f.parquet")
    for name in ("b.parquet", "c.arrow", "d.csv", "e.arrow", "f.parquet"):
        output = tmp_path / f"{name}.out.parquet"
        report = evaluate_file(tmp_path / name, output, both)
        assert (report.rows, report.rejected) == (900, first.rejected)
        assert wanted.equals(pl.read_parquet(output).cast(dict(wanted.schema))), name
        side = Path(f"{output}.rejected.csv").read_text()
        assert side == Path(f"{whole}.rejected.csv").read_text(), name
    evaluate_file(tmp_path / "b.parquet", tmp_path / "lean.parquet")
    lean = pl.read_parquet(tmp_path / "lean.parquet")
    assert lean.columns == ["row", "id", *wanted.columns[len(rows.column_names) + 1 :]]
    assert lean.equals(wanted.select(lean.columns))
    for ending in (".arrow", ".csv"):
        output = tmp_path / f"copy{ending}"
        evaluate_file(tmp_path / "b.parquet", output)
        copy = pl.read_ipc(output) if ending == ".arrow" else pl.read_csv(output)
        assert copy["row"].to_list() == wanted["row"].to_list()
        assert copy["watts"].to_list() == wanted["watts"].to_list()


def test_select_and_top(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "PART_ROWS", 100)
    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(mixed(900), path, row_group_size=50)
    everything = tmp_path / "all.parquet"
    evaluate_file(path, everything, FileOptions(inputs=True))
    frame = pl.read_parquet(everything)
    options = FileOptions(
        select="ttft_p99_ms < 500 and (system = 'h100_sxm_8' or watts < 900)", top=7, by="watts"
    )
    evaluate_file(path, tmp_path / "top.parquet", options)
    keep = (pl.col("ttft_p99_ms") < 500) & (
        (pl.col("system").cast(pl.String) == "h100_sxm_8") | (pl.col("watts") < 900)
    )
    wanted = frame.filter(keep).sort("watts", "row").head(7)
    assert len(wanted) == 7
    found = pl.read_parquet(tmp_path / "top.parquet")
    assert found["row"].to_list() == wanted["row"].to_list()
    most = FileOptions(top=3, by="output_tokens_per_s", force=True)
    evaluate_file(path, tmp_path / "top.parquet", most)
    fast = frame.drop_nulls("output_tokens_per_s").sort("output_tokens_per_s", descending=True)
    found = pl.read_parquet(tmp_path / "top.parquet")
    assert found["output_tokens_per_s"].to_list() == fast["output_tokens_per_s"].head(3).to_list()


@pytest.mark.parametrize(
    "text",
    ["", "watts", "watts <", "wats < 3", "read_csv('/etc/passwd') = 1", "watts < 3; drop", "1 = 1",
     "watts < (select 1)", "__import__('os')", "watts + 1", "system < 3 and", "a" * 2000],
)  # fmt: skip
def test_what_is_no_condition_is_refused(text: str) -> None:
    schema = result_schema(dict.fromkeys(("system", "rate_rps"), ""), None)
    with pytest.raises(SchemaError, match="--select"):
        condition(text, schema)


def test_damaged_files_are_refused_and_nothing_is_left(tmp_path: Path) -> None:
    good = tmp_path / "good.parquet"
    pyarrow.parquet.write_table(mixed(500), good, compression="none")
    data = good.read_bytes()
    cases = {
        "cut.parquet": data[: len(data) // 2],
        "foot.parquet": data[:-30] + data[-20:],
        "pages.parquet": data[:4] + b"\xff" * (len(data) // 2) + data[4 + len(data) // 2 :],
        "empty.csv": b"",
        "stream.arrow": b"\xff\xff\xff\xff\x00\x01\x00\x00",
        "utf16.csv": "system,model".encode("utf-16"),
        "semicolons.csv": b"system;model;precision\nx;y;z\n",
        "header.csv": b"system,model,precision,isl,osl,rate,colour\n",
        "twice.csv": b"system,model,precision,isl,input_tokens,osl,rate\n",
        "few.csv": b"system,model,precision,isl,osl\n",
        "quote.csv": b'system,model,precision,isl,osl,rate\n"h100' + b"x\n" * 40_000_000,
        "latin.csv": b"system,model,precision,isl,osl,rate\nh\xe9,m,bf16,1,1,1\n",
    }
    for name, content in cases.items():
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(SchemaError) as caught:
            evaluate_file(path, tmp_path / "out.parquet", FileOptions(force=True))
        assert name in caught.value.message and caught.value.hint
        assert not (tmp_path / "out.parquet").exists()
        path.unlink()


def test_what_a_file_says_of_itself_is_checked_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "in.parquet"
    pyarrow.parquet.write_table(mixed(500), path)
    for limit, value in (("MOST_ROWS", 100), ("MOST_GROUP_ROWS", 100), ("MOST_GROUP_BYTES", 1000)):
        with monkeypatch.context() as patch:
            patch.setattr(source, limit, value)
            with pytest.raises(SchemaError, match="over the limit"):
                evaluate_file(path, tmp_path / "out.parquet")
    typed = {**OPEN, "tp": "four"}
    pyarrow.parquet.write_table(table(typed), path)
    with pytest.raises(SchemaError, match="column 'tp': is of type string, must be numbers"):
        evaluate_file(path, tmp_path / "out.parquet")
    pyarrow.parquet.write_table(table({**OPEN, "system": 7}), path)
    with pytest.raises(SchemaError, match="column 'system': is of type int64, must be text"):
        evaluate_file(path, tmp_path / "out.parquet")


# Killed and taken up again


def test_a_killed_run_resumes_to_equal_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "PART_ROWS", 500)
    path = tmp_path / "in.parquet"
    pyarrow.parquet.write_table(mixed(20_000), path, row_group_size=500)
    evaluate_file(path, tmp_path / "whole.parquet")
    script = (
        "import sys, time\nfrom pathlib import Path\n"
        "from tokenfleet.tables.layouts import evaluate_file\n"
        "from tokenfleet.tables import source\n"
        "source.PART_ROWS = 500\n"
        "evaluate_file(Path(sys.argv[1]), Path(sys.argv[2]), progress=lambda *_: time.sleep(0.05))"
    )
    output = tmp_path / "cut.parquet"
    parts = tmp_path / ".cut.parquet.parts"
    child = subprocess.Popen([sys.executable, "-c", script, str(path), str(output)])
    while len(list(parts.glob("part-*.json"))) < 5:
        assert child.poll() is None
        time.sleep(0.01)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert not output.exists()
    with pytest.raises(SchemaError, match="unfinished run"):
        evaluate_file(path, output)
    with pytest.raises(SchemaError, match="another input"):
        evaluate_file(path, output, FileOptions(resume=True, select="watts < 900"))
    damaged = sorted(parts.glob("part-*.rows"))[0]
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    report = evaluate_file(path, output, FileOptions(resume=True))
    assert 4 <= report.parts_done_before < 40
    assert output.read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    sides = [Path(f"{tmp_path}/{n}.parquet.rejected.csv").read_bytes() for n in ("cut", "whole")]
    assert sides[0] == sides[1]
    assert not parts.exists()


def test_processes_and_threads_write_equal_bytes(tmp_path: Path) -> None:
    path = tmp_path / "in.parquet"
    pyarrow.parquet.write_table(mixed(2000), path)
    for name in ("threads", "processes"):
        evaluate_file(path, tmp_path / f"{name}.parquet", engine=open_engine(name, 2))
    assert (tmp_path / "threads.parquet").read_bytes() == (
        tmp_path / "processes.parquet"
    ).read_bytes()


# The command


def test_the_command_answers_tables_and_scenarios(tmp_path: Path) -> None:
    path, output = tmp_path / "in.parquet", tmp_path / "out.csv"
    pyarrow.parquet.write_table(table(OPEN, {**OPEN, "system": "x"}), path)
    done = run("evaluate", path, "-o", output, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["rows"], found["written"], found["rejected"]) == (2, 1, 1)
    assert found["best"][0]["row"] == 1 and found["rejected_file"].endswith("out.csv.rejected.csv")
    assert run("evaluate", path, "-o", output).returncode == 2  # already there
    words = run("evaluate", path, "-o", output, "--force", "--by", "watts")
    assert words.returncode == 0 and "2 rows" in words.stdout
    for arguments in (
        ["-o", tmp_path / "out.xlsx"],
        [],
        ["-o", output, "--force", "--by", "nosuch"],
        ["-o", output, "--force", "--select", "nosuch < 3"],
        ["-o", output, "--force", "--engine", "gpu"],
    ):
        refused = run("evaluate", path, *arguments)
        assert refused.returncode == 2 and "hint:" in refused.stderr, arguments


def test_ctrl_c_keeps_the_parts(tmp_path: Path) -> None:
    path, output = tmp_path / "in.csv", tmp_path / "out.parquet"
    line = "h100_sxm_8,llama-3.1-8b,bf16,1,%d,100,2\n"
    with path.open("w") as file:
        file.write("system,model,precision,tp,isl,osl,rate\n")
        for block in range(15):  # lengths that differ: slow enough to be stopped
            file.writelines(line % (500 + (i + block) % 5000) for i in range(200_000))
    command = [sys.executable, "-m", "tokenfleet", "evaluate", str(path), "-o", str(output)]
    child = subprocess.Popen([*command, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    parts = tmp_path / ".out.parquet.parts"
    while not (parts / "part-000000.json").exists():
        assert child.poll() is None
        time.sleep(0.01)
    child.send_signal(signal.SIGINT)
    printed, said = child.communicate()
    assert child.returncode == 130, said
    assert "--resume" in json.loads(printed)["error"]["hint"]
    assert not output.exists()
    report = evaluate_file(path, output, FileOptions(resume=True))
    assert report.parts_done_before >= 1 and report.rows == report.written == 3_000_000
