"""Scenario files: three formats, one meaning; hostile and broken files are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tokenfleet.errors import CatalogError, SchemaError
from tokenfleet.files.read import MAX_BYTES, parse_json, parse_toml, parse_yaml
from tokenfleet.scenario.load import LoadedScenario, load_scenario
from tokenfleet.schema import Scenario

YAML = """\
name: small
workloads:
- id: chat
  model: qwen3-32b
  slos:
  - {metric: ttft, percentile: p99, limit_ms: 2e3}
  lengths: {distribution: azure-2023-conv}
  demand: {requests_per_s: 5}
sites:
- {id: a, region: eu, power_kw: unlimited, power_basis: it, cooling: [air]}
"""
TOML = """\
name = "small"
[[workloads]]
id = "chat"
model = "qwen3-32b"
slos = [{metric = "ttft", percentile = "p99", limit_ms = 2000}]
lengths = {distribution = "azure-2023-conv"}
demand = {requests_per_s = 5}
[[sites]]
id = "a"
region = "eu"
power_kw = "unlimited"
power_basis = "it"
cooling = ["air"]
"""


def load(tmp_path: Path, text: str | bytes, name: str = "s.yaml") -> LoadedScenario:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_scenario(path)


def error_of(tmp_path: Path, text: str | bytes, name: str = "s.yaml") -> SchemaError:
    with pytest.raises(SchemaError) as caught:
        load(tmp_path, text, name)
    assert str(tmp_path) in caught.value.message
    return caught.value


def test_the_formats_mean_the_same(tmp_path: Path) -> None:
    data = parse_yaml(YAML, "s")
    loaded = [
        load(tmp_path, YAML),
        load(tmp_path, TOML, "s.toml"),
        load(tmp_path, json.dumps(data), "s.json"),
        load_scenario(data),
        load_scenario(Scenario.parse(data)),
    ]
    assert all(s.scenario == loaded[0].scenario for s in loaded)
    assert loaded[0].base_dir == tmp_path
    assert len(loaded[0].classes["chat"]) == 4


def test_bom_and_windows_line_ends(tmp_path: Path) -> None:
    text = YAML.replace("\n", "\r\n").encode("utf-8-sig")
    assert load(tmp_path, text).scenario.name == "small"


@pytest.mark.parametrize("codec", ["utf-16", "utf-16-le", "latin-1"])
def test_other_encodings_are_refused_with_advice(tmp_path: Path, codec: str) -> None:
    error = error_of(tmp_path, YAML.replace("small", "kühl").encode(codec))
    assert "UTF-8" in error.hint


def bomb(levels: int = 9, width: int = 9) -> str:
    lines = [f"a0: &a0 [{','.join(['x'] * width)}]"]
    for i in range(1, levels):
        lines.append(f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * width)}]")
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (bomb(), "aliases expand"),
        (bomb(3, 60), "aliases"),
        ("a: &a [*a]", "aliases expand"),
        ("a: &a {x: 1}\nb: {<<: *a}", "merge keys"),
        ("a: " + "[" * 60 + "]" * 60, "nested deeper"),
        ("- " * 100_000, "nested deeper"),
        ("name: 1\nname: 2", "'name' appears twice"),
        ("a: {b: 1, b: 2}", "'b' appears twice"),
        ("a: !!python/object/apply:os.system [ls]", "tag"),
        ("a: !x 1", "tag"),
        ("? [a]\n: b", "key"),
        ("a: [", "node content"),
        ("a:\n\t- b", "line 2"),
        ("a: 1\n---\nb: 2", "document"),
    ],
    ids=range(14),
)
def test_hostile_yaml(tmp_path: Path, text: str, message: str) -> None:
    """Refused for what it says; the first one expanded would fill any memory."""
    assert message in error_of(tmp_path, text).message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1, "a": 2}', "'a' appears twice"),
        ('{"a": NaN}', "NaN is not a finite number"),
        ('{"a": -Infinity}', "-Infinity is not a finite number"),
        ('{"a": 1e400}', "1e400 is not a finite number"),
        ('{"a": ' + "9" * 5000 + "}", "5000 digits"),
        ("[" * 100_000, "nested deeper"),
        ('{"a": 1', "line 1"),
    ],
)
def test_hostile_json(text: str, message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        parse_json(text, "f.json")


@pytest.mark.parametrize("text", ["a = 1\na = 2", "a = [", "a = " + "[" * 3000, "a = nan"])
def test_hostile_toml(tmp_path: Path, text: str) -> None:
    if "nan" in text:
        assert parse_toml(text, "f") != {}
        text = TOML.replace("requests_per_s = 5", "requests_per_s = nan")
    error_of(tmp_path, text, "s.toml")


def test_size_limit_and_odd_paths(tmp_path: Path) -> None:
    assert "over the limit" in error_of(tmp_path, b"#" * (MAX_BYTES + 1)).message
    with pytest.raises(SchemaError, match="no such file"):
        load_scenario(tmp_path / "none.yaml")
    (tmp_path / "folder.yaml").mkdir()
    with pytest.raises(SchemaError, match="is a folder"):
        load_scenario(tmp_path / "folder.yaml")
    assert "unknown ending" in error_of(tmp_path, YAML, "s.txt").message
    assert "is a list" in error_of(tmp_path, "- a").message
    assert "is empty" in error_of(tmp_path, "").message


def test_yaml_words_and_numbers_are_those_of_json() -> None:
    assert parse_yaml("[1e-4, 2E3, -1.5e+2, .5, 3, 0]", "f") == [1e-4, 2000.0, -150.0, 0.5, 3, 0]
    words = ["no", "on", "010", "1:30", "1_000", "1e3x", "0x10"]
    assert parse_yaml(f"[{', '.join(words)}]", "f") == words
    assert parse_yaml("[true, false, null, ~]", "f") == [True, False, None, None]


def test_json_strings_with_brackets_are_not_nesting() -> None:
    text = json.dumps({"a": "[" * 200 + '"' + "\\"})
    assert parse_json(text, "f") == json.loads(text)


@pytest.mark.parametrize(
    ("old", "new", "message", "hint"),
    [
        ("qwen3-32b", "qwen3-33b", "model: unknown model 'qwen3-33b'", "qwen3-32b"),
        ("qwen3-32b", "qwen3-33b", "unknown model", "tokenfleet import config.json -o own.yaml"),
        ("azure-2023-conv", "azure-conv", "unknown length distribution", "azure-2023-conv"),
        ("limit_ms: 2e3", "limit_ms: 2e3, class: len9", "unknown class 'len9'", "len"),
        ("name: small", "name: s\nsystems: [h2000_sxm_8]", "systems[0]: unknown system", "h200"),
        ("name: small", "name: s\nprice_vintage: '2024'", "unknown price vintage", "2026"),
        ("name: small", "name: s\ncatalog: [no.csv]", "'no.csv' is not found", "relative"),
        ("name: small", "name: s\ncolumns: no.csv", "'no.csv' is not found", "relative"),
        ("name: small", "name: s\ncatalog: ['.']", "'.' is not found", "relative"),
        ("model: qwen3-32b", "model: qwen3-32b\n  quality_floor: 0.9",
         "quality_floor: 0.9, but no quality row", "quality"),
        ("{distribution: azure-2023-conv}",
         "{distribution: azure-2023-conv, prefix_hit_rate: measured}",
         "no prefix blocks", "number"),
        ("{distribution: azure-2023-conv}", "{trace: t.csv, format: azure}", "'t.csv'", "relative"),
    ],
)  # fmt: skip
def test_names_that_only_the_catalog_knows(
    tmp_path: Path, old: str, new: str, message: str, hint: str
) -> None:
    error = error_of(tmp_path, YAML.replace(old, new))
    assert message in error.message
    assert hint in error.hint
    assert not isinstance(error, CatalogError)


def test_catalog_quality_counts_and_the_scenario_wins(tmp_path: Path) -> None:
    rows = "model,precision,score\nqwen3-32b,fp8,0.95\nqwen3-32b,bf16,1.0\n"
    (tmp_path / "q.csv").write_text(rows, encoding="utf-8")
    own = "quality:\n- {model: qwen3-32b, precision: fp8, score: 0.97, source: own test}\n"
    text = own + "catalog: [q.csv]\n" + YAML.replace("id: chat", "id: chat\n  quality_floor: 0.9")
    scores = {q.precision: q.score for q in load(tmp_path, text).scenario.quality}
    assert scores == {"fp8": 0.97, "bf16": 1.0}


def test_columns_come_from_a_file(tmp_path: Path) -> None:
    rows = "workload,class,system,gpus,rate_rps,watts\nchat,len1,h100_sxm_8,8,12.5,9000\n"
    (tmp_path / "c.csv").write_text(rows, encoding="utf-8")
    columns = load(tmp_path, "columns: c.csv\n" + YAML).scenario.columns
    assert isinstance(columns, tuple)
    assert (columns[0].cls, columns[0].rate_rps, columns[0].watts) == ("len1", 12.5, 9000)
    (tmp_path / "c.csv").write_text(rows.replace("12.5", "0"), encoding="utf-8")
    error = error_of(tmp_path, "columns: c.csv\n" + YAML)
    assert "row 2" in error.message
    assert "rate_rps" in error.message


def test_a_price_for_a_node_warns(tmp_path: Path) -> None:
    offers = "offers:\n- {id: o, system: h200_sxm_8, kind: rent, price_usd_per_gpu_h: 23.2}\n"
    warnings = [str(w) for w in load(tmp_path, offers + YAML).warnings]
    assert any("price book" in w and "node" in w for w in warnings)


def test_derived_classes_and_curves(tmp_path: Path) -> None:
    header = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
    rows = [f"2024-01-01 00:{m:02d}:00,{100 + m},{10 + m}\n" for m in range(60)]
    (tmp_path / "t.csv").write_text(header + "".join(rows), encoding="utf-8")
    text = YAML.replace(
        "{distribution: azure-2023-conv}", "{trace: t.csv, format: azure, buckets: 2}"
    ).replace(
        "{requests_per_s: 5}", "{requests_per_s: 5, trace_curve: {trace: t.csv, format: azure}}"
    )
    loaded = load(tmp_path, text)
    assert [c.id for c in loaded.classes["chat"]] == ["len1", "len2"]
    assert loaded.day_curves["chat"] == pytest.approx((1.0,) * 24)
    assert load(tmp_path, YAML).day_curves == {}
