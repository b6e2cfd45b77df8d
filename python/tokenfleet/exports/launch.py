"""Launch commands of a plan's replicas, in the flags that each engine documents.

A layout has `tp * attention_dp * pp` accelerators. The engines divide them otherwise:

- vLLM: `--tensor-parallel-size` is of one data-parallel rank; experts are spread over all ranks of
  a stage, or not at all; `--max-num-seqs` is of one rank.
- SGLang: `--tp-size` is a whole stage, and `--dp-size` ranks share it under DP attention.
- TensorRT-LLM: `--tp_size` is a whole stage; with attention DP every accelerator is a rank.

A layout that an engine cannot be told of is refused. The weights are a variable of the shell: it
stands for the repository that the plan names, unless it is set to another; where the plan knows of
none the script asks for it, and nothing is guessed.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import yaml

from tokenfleet.errors import SchemaError
from tokenfleet.files.plain import plain
from tokenfleet.plan.rows import Checkpoint, Plan, Replicas
from tokenfleet.problem.inputs import GPU_MEMORY
from tokenfleet.schema.engines import ENGINES

_SPECIAL = re.compile(r"[^\w .,/-]", re.ASCII)  # to a shell


@dataclass(frozen=True)
class Command:
    """How one kind of replica is started."""

    row: Replicas
    model: str | None  # as the catalog names it
    checkpoint: Checkpoint | None  # published weights that the plan names
    words: tuple[str, ...]  # the program and its flags, `{model}` where the weights go
    config: Mapping[str, Any] = field(default_factory=dict)  # a file of further options

    @property
    def variable(self) -> str:
        """Variable of the shell that names the weights."""
        text = re.sub(r"[^A-Z0-9]+", "_", f"{self.model or 'model'} {self.row.precision}".upper())
        return f"CHECKPOINT_{text.strip('_')}"


def commands(plan: Plan, engine: str | None = None) -> tuple[Command, ...]:
    """Commands of the plan's replicas, those of one engine or of all.

    Raises:
        SchemaError: replicas without a layout (measured columns), or a layout that the engine
            cannot be told of.
    """
    models = {row.workload: row.model for row in plan.workloads}
    weights = {(row.model, row.precision): row for row in plan.checkpoints}
    rows = [r for r in plan.replicas if engine is None or r.engine == engine]
    stated = (i.value for i in plan.inputs if i.what == GPU_MEMORY and not i.assumed)
    share = next(stated, None)
    found = []
    for row in rows:
        model = models.get(row.workload)
        checkpoint = weights.get((str(model), str(row.precision)))
        words, config = _told(row, share)
        found.append(Command(row, model, checkpoint, words, config))
    return tuple(found)


def _told(row: Replicas, share: float | str | None) -> Told:
    """Flags and options of a replica under its engine, with the memory that it may take."""
    if row.engine is None or row.tp is None:
        raise SchemaError(
            f"replicas of {row.workload}: measured columns have no layout to launch",
            "export a plan whose layouts were modelled",
        )
    words, config = LAUNCHERS[row.engine].told(row)
    if row.engine == "vllm" and share is not None:  # the others' settings are of other parts
        words += ("--gpu-memory-utilization", str(share))
    return words, config


# The engines' flags


Told: TypeAlias = tuple[tuple[str, ...], Mapping[str, Any]]


def _degrees(row: Replicas) -> tuple[int, int, int, int]:
    """tp, pp, ep and ranks of attention."""
    return row.tp or 1, row.pp or 1, row.ep or 1, row.attention_dp or 1


def _refuse(row: Replicas, engine: str, why: str) -> SchemaError:
    return SchemaError(
        f"replicas of {row.workload} on {row.system}: {ENGINES[engine].name} {why}",
        "plan without that layout, or set it up by hand",
    )


def _per_rank(batch: int | None, ranks: int) -> int | None:
    return None if batch is None else -(-batch // ranks)


def _vllm(row: Replicas) -> Told:
    tp, pp, ep, ranks = _degrees(row)
    words = ["vllm", "serve", "{model}", "--tensor-parallel-size", str(tp)]
    if pp > 1:
        words += ["--pipeline-parallel-size", str(pp)]
    if ranks > 1:
        words += ["--data-parallel-size", str(ranks)]
    if ep > 1 and ep != tp * ranks:
        raise _refuse(row, "vllm", f"spreads experts over all {tp * ranks} ranks, not over {ep}")
    if ep > 1:
        words += ["--enable-expert-parallel"]
    if row.batch_limit is not None:
        words += ["--max-num-seqs", str(_per_rank(row.batch_limit, ranks))]
    if row.kv_dtype == "fp8":
        words += ["--kv-cache-dtype", "fp8"]
    if row.speculative_depth:
        config = {"method": "mtp", "num_speculative_tokens": row.speculative_depth}
        words += ["--speculative-config", json.dumps(config)]
    if row.role != "serve":
        config = {"kv_connector": "NixlConnector", "kv_role": "kv_both"}
        words += ["--kv-transfer-config", json.dumps(config)]
    return tuple(words), {}


def _sglang(row: Replicas) -> Told:
    tp, pp, ep, ranks = _degrees(row)
    words = ["python3", "-m", "sglang.launch_server", "--model-path", "{model}"]
    words += ["--tp-size", str(tp * ranks)]
    if pp > 1:
        words += ["--pp-size", str(pp)]
    if ranks > 1:
        words += ["--dp-size", str(ranks), "--enable-dp-attention"]
    if ep > 1:
        words += ["--ep-size", str(ep)]
    if row.batch_limit is not None:
        words += ["--max-running-requests", str(row.batch_limit)]
    if row.kv_dtype == "fp8":
        words += ["--kv-cache-dtype", "fp8_e4m3"]
    if row.speculative_depth:
        depth = row.speculative_depth
        words += ["--speculative-algorithm", "EAGLE", "--speculative-num-steps", str(depth)]
        words += ["--speculative-eagle-topk", "1"]
        words += ["--speculative-num-draft-tokens", str(depth + 1)]
    if row.role != "serve":
        words += ["--disaggregation-mode", row.role]
    return tuple(words), {}


def _trtllm(row: Replicas) -> Told:
    tp, pp, ep, ranks = _degrees(row)
    if ranks > 1 and tp > 1:
        raise _refuse(row, "trtllm", f"has attention DP over every accelerator, not over {ranks}")
    words = ["trtllm-serve", "{model}", "--backend", "pytorch", "--tp_size", str(tp * ranks)]
    if pp > 1:
        words += ["--pp_size", str(pp)]
    if ep > 1:
        words += ["--ep_size", str(ep)]
    if row.batch_limit is not None:
        words += ["--max_batch_size", str(_per_rank(row.batch_limit, ranks))]
    config: dict[str, Any] = {}
    if ranks > 1:
        config["enable_attention_dp"] = True
    if row.kv_dtype == "fp8":
        config["kv_cache_config"] = {"dtype": "fp8"}
    if row.speculative_depth:
        config["speculative_config"] = {
            "decoding_type": "MTP",
            "num_nextn_predict_layers": row.speculative_depth,
        }
    if row.role != "serve":
        config["cache_transceiver_config"] = {"backend": "DEFAULT"}
        words += ["--server_role", "context" if row.role == "prefill" else "generation"]
    if config:
        words += ["--extra_llm_api_options", "{config}"]
    return tuple(words), config


@dataclass(frozen=True)
class Launcher:
    """How replicas under one engine are started."""

    told: Callable[[Replicas], Told]  # the program with its flags, and a file of options
    image: str  # container image that the engine's project publishes, without a tag


LAUNCHERS: Mapping[str, Launcher] = {
    "vllm": Launcher(_vllm, "vllm/vllm-openai"),
    "sglang": Launcher(_sglang, "lmsysorg/sglang"),
    "trtllm": Launcher(_trtllm, "tensorrt-llm/release"),
}


# A script


def script(plan: Plan, engine: str) -> str:
    """A shell script with one command for each kind of replica under an engine.

    Raises:
        SchemaError: no replica of the plan runs under it; or as `commands`.
    """
    found = commands(plan, engine)
    if not found:
        others = sorted({row.engine for row in plan.replicas if row.engine is not None})
        hint = f"the plan has replicas under {', '.join(others)}" if others else "it has none"
        raise SchemaError(f"no replica of the plan runs under {ENGINES[engine].name}", hint)
    return "\n".join([*_head(plan, engine), *(line for c in found for line in _lines(plan, c)), ""])


def _head(plan: Plan, engine: str) -> Iterator[str]:
    yield "#!/bin/sh"
    yield f"# {ENGINES[engine].name} replicas of the plan {comment(plan.name)}."
    version = engine_version(plan, engine)
    yield (
        f"# Planned for version {comment(version)}."
        if version
        else ("# The scenario names no version of the engine.")
    )
    others = sorted({r.engine for r in plan.replicas if r.engine not in (None, engine)})
    if others:
        yield f"# Further replicas run under {', '.join(str(other) for other in others)}."
    yield "# Each command starts one replica; run it as often as is said above it."
    yield "set -eu"


def engine_version(plan: Plan, engine: str) -> str | None:
    """The engine's version that the scenario names."""
    ending = f" under {engine}"
    rows = (row.engine_version for row in plan.provenance if row.what.endswith(ending))
    return next((version for version in rows if version), None)


def _lines(plan: Plan, command: Command) -> Iterator[str]:
    row = command.row
    role = "" if row.role == "serve" else f", {row.role} pool"
    yield ""
    yield (
        f"# {row.count} x {comment(row.workload)} at {comment(row.site)} on {comment(row.system)}: "
        f"{row.gpus} GPUs each, weights {row.precision}{role}; classes "
        f"{', '.join(map(comment, row.classes))}"
    )
    yield from _weights(command)
    model = f'"${command.variable}"'
    config = ""
    if command.config:
        config = f"options-{row.candidate}.yaml"
        yield f"cat > {config} <<'OPTIONS'"
        yield yaml.safe_dump(dict(command.config), sort_keys=True).rstrip()
        yield "OPTIONS"
    named = {"{model}": model, "{config}": config}
    yield " ".join(named.get(word) or shlex.quote(word) for word in command.words)


def _weights(command: Command) -> Iterator[str]:
    """The shell's variable of the weights: what the plan names, or a question."""
    known = command.checkpoint
    if known is None:
        yield f': "${{{command.variable}:?{_asked(command)}}}"'
        return
    dated = "" if known.as_of is None else f", {known.as_of}"
    yield f"# Weights: {comment(known.repository)} ({comment(known.source)}{dated})."
    named = shlex.quote(comment(known.repository))
    yield f'[ -n "${{{command.variable}:-}}" ] || {command.variable}={named}'


def _asked(command: Command) -> str:
    """What the shell says where a checkpoint was not given: letters that mean nothing to it."""
    text = f"set to a checkpoint of {command.model or 'the model'} in {command.row.precision}"
    return _SPECIAL.sub("", text)


def comment(text: object) -> str:
    """A name on one line, so that nothing after it is run."""
    return " ".join(plain(text).split())
