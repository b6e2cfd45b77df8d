"""A plan's replicas as Kubernetes manifests: a Deployment for each kind at each site.

A replica that spans systems needs an operator of its own (LeaderWorkerSet, Ray): it is listed in
the ConfigMap, not deployed. Images have the tag of the version that the scenario names; without one
the tag is `SET-A-VERSION`, which no registry has. Weights are the repository that the plan names,
else `SET-CHECKPOINT_...` likewise.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from tokenfleet.errors import SchemaError
from tokenfleet.exports.launch import LAUNCHERS, Command, commands, engine_version
from tokenfleet.files.plain import plain
from tokenfleet.plan.rows import Plan

RESOURCES = {"NVIDIA": "nvidia.com/gpu", "AMD": "amd.com/gpu", "Intel": "gpu.intel.com/xe"}
SITE_LABEL = "tokenfleet/site"  # that nodes are expected to have
_MOST = 52  # characters of a name, less than a label's 63
UNSET = "SET-A-VERSION"


def kubernetes(plan: Plan) -> str:
    """YAML documents: what the plan says as a ConfigMap, then a Deployment for each replica kind.

    Raises:
        SchemaError: no replicas with a layout.
    """
    found = commands(plan)
    if not found:
        raise SchemaError("the plan has no replicas to deploy", "it serves all by hosted APIs")
    size = {row.system: row.gpus for row in plan.hardware}
    vendors = {row.system: row.vendor for row in plan.hardware}
    within = [c for c in found if c.row.gpus <= size.get(c.row.system, c.row.gpus)]
    spans = [c for c in found if c not in within]
    documents = [_summary(plan, spans)]
    for command in within:
        documents += _deployment(plan, command, vendors.get(command.row.system, ""))
    return yaml.safe_dump_all(documents, sort_keys=False, width=96)


def slug(*parts: str) -> str:
    """A name that Kubernetes takes; what had to be changed is told apart by a fingerprint."""
    given = "-".join(parts)
    name = re.sub(r"[^a-z0-9]+", "-", plain(given).lower()).strip("-")
    if name == given and len(name) <= _MOST:
        return name
    mark = hashlib.sha256(given.encode("utf-8", "replace")).hexdigest()[:8]
    return f"{name[: _MOST - 9].strip('-') or 'x'}-{mark}"


def _summary(plan: Plan, spans: list[Command]) -> dict[str, Any]:
    listed = [
        f"{c.row.count} x {plain(c.row.workload)} at {plain(c.row.site)} on {c.row.system}: "
        f"{c.row.gpus} GPUs each"
        for c in spans
    ]
    data = {
        "plan": plain(plan.name),
        "accelerators": str(plan.gpus),
        "scenario_sha256": plan.origin.scenario_sha256 if plan.origin else "unknown",
    }
    if listed:
        data["not_deployed_because_they_span_systems"] = "\n".join(listed)
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": slug("tokenfleet", plan.name)},
        "data": data,
    }


def _deployment(plan: Plan, command: Command, vendor: str) -> Iterator[dict[str, Any]]:
    row = command.row
    name = slug(row.workload, row.site, row.role, str(row.candidate))
    labels = {"app.kubernetes.io/name": name, "app.kubernetes.io/managed-by": "tokenfleet"}
    notes = {
        "tokenfleet/workload": plain(row.workload),
        "tokenfleet/site": plain(row.site),
        "tokenfleet/classes": ", ".join(map(plain, row.classes)),
        "tokenfleet/weights": str(row.precision),
    }
    options = f"{name}-options"
    if command.config:
        yield {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": options, "labels": dict(labels)},
            "data": {"options.yaml": yaml.safe_dump(dict(command.config), sort_keys=True)},
        }
    yield {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": dict(labels), "annotations": notes},
        "spec": {
            "replicas": row.count,
            "selector": {"matchLabels": {"app.kubernetes.io/name": name}},
            "template": {
                "metadata": {"labels": dict(labels)},
                "spec": {
                    "nodeSelector": {SITE_LABEL: slug(row.site)},
                    "containers": [_container(plan, command, vendor)],
                    "volumes": [
                        {"name": "shm", "emptyDir": {"medium": "Memory"}},
                        *(
                            [{"name": "options", "configMap": {"name": options}}]
                            if command.config
                            else []
                        ),
                    ],
                },
            },
        },
    }


def _container(plan: Plan, command: Command, vendor: str) -> Mapping[str, Any]:
    row = command.row
    version = engine_version(plan, row.engine or "")
    tag = re.sub(r"[^\w.-]", "-", version) if version else UNSET
    known = command.checkpoint
    model = f"SET-{command.variable}" if known is None else plain(known.repository)
    named = {"{model}": model, "{config}": "/etc/tokenfleet/options.yaml"}
    mounts = [{"name": "shm", "mountPath": "/dev/shm"}]
    if command.config:
        mounts.append({"name": "options", "mountPath": "/etc/tokenfleet"})
    gpus = {RESOURCES[vendor]: row.gpus} if vendor in RESOURCES else {}
    return {
        "name": row.engine,
        "image": f"{LAUNCHERS[row.engine or ''].image}:{tag}",
        "command": [named.get(word, word) for word in command.words],
        "resources": {"limits": gpus},
        "volumeMounts": mounts,
    }
