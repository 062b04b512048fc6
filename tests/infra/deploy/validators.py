"""Validators of deployment files. Each returns its complaints, or None where what it needs is not on this machine.

TRICHORD_SCHEMAS names a folder with `compose-spec.json.gz` and KubeRay's `ray.io_*.yaml.gz`. kubectl, systemd-analyze,
actionlint and check-jsonschema are taken from PATH; hadolint and kubernetes-validate are in this environment.
"""

from __future__ import annotations

import ast
import gzip
import json
import os
import re
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import yaml

from tests.infra.deploy import pods
from tests.infra.deploy.commands import commands_in, refused
from trichord.infra.deploy.schedule import check_cron
from trichord.infra.errors import ConfigError

Complaints = list[str] | None
Validator = Callable[[Path], Complaints]
_CUSTOM = {"RayCluster": "rayclusters", "RayJob": "rayjobs"}
_WORKFLOW: dict[str, set[Any]] = {
    "": {"name", True, "permissions", "concurrency", "jobs"},  # YAML reads `on` as true
    "job": {"runs-on", "timeout-minutes", "steps"},
    "step": {"name", "uses", "with", "env", "run", "if"},
}


def hadolint(path: Path) -> Complaints:
    """Rules for Dockerfiles, ours among them: the last user is a number, and bases have a version."""
    program = Path(sys.executable).with_name("hadolint")
    found = _run([str(program), "--no-color", str(path)])
    text = path.read_text(encoding="utf-8")
    users = re.findall(r"^USER (\S+)$", text, re.M)
    if not users or not re.fullmatch(r"[1-9]\d*:[1-9]\d*", users[-1]):
        found.append("the last USER is not a number, or is root")
    found += [
        f"{base} has no version"
        for base in re.findall(r"^FROM (\S+)", text, re.M)
        if not re.search(r":\d+\.\d+\.\d+|@sha256:", base)
    ]
    return found


def compose(path: Path) -> Complaints:
    """The schema of compose files."""
    schema = _schema("compose-spec.json.gz")
    return None if schema is None else _by_schema(yaml.safe_load(path.read_text(encoding="utf-8")), schema)


def kubernetes(path: Path) -> Complaints:
    """kubernetes-validate, strict; Ray's kinds by KubeRay's definitions, strict too."""
    found: list[str] = []
    for document in _documents(path):
        kind = document.get("kind")
        if kind in _CUSTOM:
            if (schema := _custom(_CUSTOM[kind])) is None:
                return None
            found += _by_schema(document, schema)
            continue
        try:
            kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)
        except kubernetes_validate.ValidationError as error:
            found.append(f"{'.'.join(map(str, error.path))}: {error.message}"[:300])
        except kubernetes_validate.SchemaNotFoundError as error:
            found.append(str(error)[:300])
    return found


def pod_rules(path: Path) -> Complaints:
    """What a restricted namespace and an engineer on call want of pods: see `pods`."""
    return pods.complaints(_documents(path))


def kustomize(path: Path) -> Complaints:
    """`kubectl kustomize` of all overlays; what they make is valid, and each name in it leads somewhere."""
    program = shutil.which("kubectl")
    if program is None:
        return None
    root = _root(path)
    held = tuple((str(one), one.read_bytes()) for one in sorted((root / "kubernetes").rglob("*.yaml")))
    return list(_built(program, root, held))


@cache
def _built(program: str, root: Path, held: tuple[tuple[str, bytes], ...]) -> tuple[str, ...]:
    """Return the complaints of `kustomize` for files that hold what is given."""
    found = []
    for overlay in sorted((root / "kubernetes" / "overlays").iterdir()):
        done = subprocess.run([program, "kustomize", str(overlay)], capture_output=True, text=True, check=False)
        if done.returncode:
            found.append(f"{overlay.name}: {done.stderr.strip()[-400:]}")
            continue
        built = root / f"{overlay.name}.built.yaml"
        built.write_text(done.stdout, encoding="utf-8")
        found += [f"{overlay.name}: {one}" for one in [*(kubernetes(built) or []), *(pod_rules(built) or [])]]
        if re.search(r"^ +image: trichord$", done.stdout, re.M):
            found.append(f"{overlay.name}: an image has no version")
        if overlay.name == "gpu" and "nvidia.com/gpu" not in done.stdout:
            found.append("gpu: no GPU is asked for")
        built.unlink()
    return tuple(found)


def systemd(path: Path) -> Complaints:
    """`systemd-analyze verify`, which says what is wrong on stderr and ends with 0; and of timers, the next time."""
    program = shutil.which("systemd-analyze")
    if program is None:
        return None
    units = sorted(str(one) for one in path.parent.iterdir() if one.suffix in (".service", ".timer"))
    done = subprocess.run([program, "verify", "--man=no", *units], capture_output=True, text=True, check=False)
    found = [line for line in done.stderr.splitlines() if "No such device" not in line]
    text = path.read_text(encoding="utf-8")
    for calendar in re.findall(r"^OnCalendar=(.*)$", text, re.M):
        found += _run([program, "calendar", calendar])
    if path.suffix == ".service" and not {"ProtectSystem=strict", "NoNewPrivileges=yes"} <= set(text.splitlines()):
        found.append("the service is not confined")
    return found


def actionlint(path: Path) -> Complaints:
    """`actionlint` or `check-jsonschema` (SchemaStore's schema of workflows), whichever is on PATH."""
    if program := shutil.which("actionlint"):
        return _run([program, str(path)])
    if program := shutil.which("check-jsonschema"):
        return _run([program, "--builtin-schema", "vendor.github-workflows", str(path)])
    return None


def workflow(path: Path) -> Complaints:
    """Keys of a workflow, its clock and its permissions; less than actionlint, and always here."""
    read = yaml.safe_load(path.read_text(encoding="utf-8"))
    found = [f"unknown key: {key}" for key in set(read) - _WORKFLOW[""]]
    for job in read.get("jobs", {}).values():
        found += [f"unknown key of a job: {key}" for key in set(job) - _WORKFLOW["job"]]
        found += [f"unknown key of a step: {key}" for step in job["steps"] for key in set(step) - _WORKFLOW["step"]]
        if "runs-on" not in job or "timeout-minutes" not in job:
            found.append("a job has no machine, or no end")
    if read.get("permissions") != {"contents": "read"}:
        found.append("the workflow may do more than read")
    for one in read.get(True, {}).get("schedule", []):
        found += _cron(one["cron"])
    return found


def orchestrated(path: Path) -> Complaints:
    """A DAG or job compiles without a warning, and handles exits, signals, schedule and the index as it must."""
    text = path.read_text(encoding="utf-8")
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            tree = ast.parse(text)
            compile(text, str(path), "exec")
        except SyntaxError as error:
            return [str(error)]
    found = [str(one.message) for one in warned]
    raised = [ast.unparse(node.exc) for node in ast.walk(tree) if isinstance(node, ast.Raise) and node.exc]
    keywords = {word.arg: word.value for node in ast.walk(tree) if isinstance(node, ast.Call) for word in node.keywords}
    hopeless = ("AirflowFailException(",) if path.parent.name == "airflow" else ("allow_retries=False",)
    if not any(mark in one for mark in hopeless for one in raised):
        found.append("exits 2 and 3 are tried again")
    if "start_new_session" not in keywords:
        found.append("the command is killed with the task, before it can end in order")
    if not re.search(r"SIGTERM\)|terminate\(\)", text):
        found.append("SIGTERM does not reach the command")
    schedule = keywords.get("schedule" if path.parent.name == "airflow" else "cron_schedule")
    found += _cron(schedule.value) if isinstance(schedule, ast.Constant) else ["there is no schedule"]
    if path.parent.name == "airflow" and not {"outlets", "retries", "max_active_runs"} <= set(keywords):
        found.append("the DAG has no outlet, no retries, or runs twice at a time")
    return found


def command_line(path: Path) -> Complaints:
    """Every command of Trichord in the file is one: its verb, its options, their values."""
    return [why for words in commands_in(path) if (why := refused(words)) is not None]


def _cron(schedule: Any) -> list[str]:
    try:
        check_cron(str(schedule))
    except ConfigError as error:
        return [str(error)]
    return []


def _run(command: list[str]) -> list[str]:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).strip().splitlines() if done.returncode else []


def _documents(path: Path) -> list[dict[str, Any]]:
    return [one for one in yaml.safe_load_all(path.read_text(encoding="utf-8")) if one]


def _root(path: Path) -> Path:
    return next(folder for folder in path.parents if (folder / "kubernetes" / "overlays").is_dir())


@cache
def _schema(name: str) -> Any:
    folder = os.environ.get("TRICHORD_SCHEMAS")
    if folder is None:
        return None
    data = gzip.decompress((Path(folder) / name).read_bytes())
    return json.loads(data) if name.endswith(".json.gz") else yaml.load(data, yaml.CSafeLoader)


@cache
def _custom(plural: str) -> Any:
    definition = _schema(f"ray.io_{plural}.yaml.gz")
    if definition is None:
        return None
    [schema] = [one["schema"]["openAPIV3Schema"] for one in definition["spec"]["versions"] if one["name"] == "v1"]
    _be_strict(schema)
    schema["properties"]["metadata"] = {"type": "object"}
    return schema


def _be_strict(node: Any) -> None:
    """Refuse unknown keys, as the API server warns of them; and read Kubernetes' own words for integers or text."""
    if isinstance(node, dict):
        if node.pop("x-kubernetes-int-or-string", False):
            node.pop("anyOf", None)
            node["type"] = ["integer", "string"]
        if isinstance(node.get("properties"), dict) and node.get("type") == "object":
            node.setdefault("additionalProperties", False)
        for one in node.values():
            _be_strict(one)
    elif isinstance(node, list):
        for one in node:
            _be_strict(one)


def _by_schema(document: Any, schema: Any) -> list[str]:
    errors = jsonschema.Draft202012Validator(schema).iter_errors(document)
    return [f"{'.'.join(map(str, error.absolute_path))}: {error.message}"[:300] for error in errors]
