"""Every deployment file, its validators, and for each of these a fault that it finds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.infra.deploy import validators as v
from tests.infra.deploy.validators import Validator


@dataclass(frozen=True, slots=True)
class Fault:
    """One planted fault: `old`, which the file holds, becomes `new`."""

    validator: Validator
    what: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Case:
    """A file and the faults by which its validators are tried; it is examined by all of these and by `also`."""

    name: str
    faults: tuple[Fault, ...]
    also: tuple[Validator, ...] = field(default=())

    @property
    def validators(self) -> tuple[Validator, ...]:
        """All that examine the file."""
        return tuple(dict.fromkeys([*(fault.validator for fault in self.faults), *self.also]))


@contextmanager
def planted(fault: Fault, path: Path) -> Iterator[Path]:
    """Plant a fault in a file for the block."""
    text = path.read_text(encoding="utf-8")
    assert fault.old in text, "the fault cannot be planted"
    path.write_text(text.replace(fault.old, fault.new), encoding="utf-8")
    try:
        yield path
    finally:
        path.write_text(text, encoding="utf-8")


def _misspelt(validator: Validator, key: str) -> Fault:
    return Fault(validator, "a misspelt key", f"{key}:", f"{key[:-1]}:")


_ROOT = Fault(v.hadolint, "root at the end", "USER 10001:10001", "USER root")
_LATEST = Fault(v.hadolint, "a base without a version", ":3.11.14-slim-bookworm\n\n", ":latest\n\n")
_VERB = Fault(v.command_line, "an unknown option", '"--wait"', '"--waitt"')
_ESCALATE = Fault(v.pod_rules, "root", "runAsNonRoot: true", "runAsNonRoot: false")
_WRITABLE = Fault(v.pod_rules, "a root that may be written", "readOnlyRootFilesystem: true", "privileged: false")

CASES = (
    Case("docker/cpu.Dockerfile", (_ROOT, _LATEST, Fault(v.command_line, "an unknown option", "--help", "--helpp"))),
    Case("docker/gpu.Dockerfile", (_ROOT, Fault(v.hadolint, "a relative folder", "WORKDIR /data", "WORKDIR data"))),
    Case(
        "compose/compose.yaml",
        (
            _misspelt(v.compose, "healthcheck"),
            Fault(v.command_line, "an unknown verb", "- watch\n", "- wacht\n"),
        ),
    ),
    Case("kubernetes/base/kustomization.yaml", (_misspelt(v.kustomize, "configMapGenerator"),)),
    Case("kubernetes/overlays/cpu/kustomization.yaml", (Fault(v.kustomize, "a lost base", "../../base", "../base"),)),
    Case(
        "kubernetes/overlays/gpu/kustomization.yaml",
        (Fault(v.kustomize, "a patch of nothing", "name: nightly", "name: nightli"),),
    ),
    Case(
        "kubernetes/overlays/gpu/gpu.yaml",
        (Fault(v.kustomize, "a container more", "- name: nightly\n", "- name: night\n"),),
    ),
    Case("kubernetes/base/namespace.yaml", (_misspelt(v.kubernetes, "labels"),), (v.kustomize,)),
    Case("kubernetes/base/serviceaccount.yaml", (_misspelt(v.kubernetes, "automountServiceAccountToken"),)),
    Case("kubernetes/base/storage.yaml", (_misspelt(v.kubernetes, "accessModes"),)),
    Case(
        "kubernetes/base/nightly.yaml",
        (
            _misspelt(v.kubernetes, "concurrencyPolicy"),
            Fault(v.kubernetes, "a wrong type", "backoffLimit: 3", "backoffLimit: three"),
            Fault(v.pod_rules, "retries of a refused gate", "values: [2, 3]", "values: [2]"),
            Fault(v.pod_rules, "two nights at a time", "Forbid", "Allow"),
            Fault(v.pod_rules, "10 s to end", "terminationGracePeriodSeconds: 60", "terminationGracePeriodSeconds: 10"),
            _ESCALATE,
            _WRITABLE,
            _VERB,
        ),
    ),
    Case(
        "kubernetes/base/watcher.yaml",
        (
            _misspelt(v.kubernetes, "livenessProbe"),
            Fault(v.pod_rules, "a probe of no port", "path: /readyz, port: http", "path: /readyz, port: web"),
            Fault(v.pod_rules, "a Service that selects nothing", "selector: {app", "selector: {role: x, app"),
            _ESCALATE,
            Fault(v.command_line, "an unknown verb", "- watch\n", "- wacht\n"),
        ),
    ),
    Case(
        "kubernetes/base/network.yaml",
        (
            _misspelt(v.kubernetes, "policyTypes"),
            Fault(v.kustomize, "a policy that selects nothing", "component: watcher", "component: watchers"),
        ),
    ),
    Case("ray/cluster.yaml", (_misspelt(v.kubernetes, "authOptions"), _ESCALATE, _WRITABLE)),
    Case(
        "ray/backfill.yaml",
        (
            _misspelt(v.kubernetes, "shutdownAfterJobFinishes"),
            Fault(v.kubernetes, "an unknown mode", "mode: token", "mode: tokens"),
            _ESCALATE,
            Fault(v.command_line, "an unknown option", "--max-concurrent", "--max-concurrency"),
        ),
    ),
    Case("ray/nightly.yaml", (_misspelt(v.kubernetes, "timeZone"), _WRITABLE, _VERB)),
    Case("ray/network.yaml", (_misspelt(v.kubernetes, "podSelector"),)),
    Case(
        "systemd/trichord-nightly.service",
        (
            Fault(v.systemd, "a misspelt key", "KillMode=", "KillMod="),
            Fault(v.systemd, "an unknown value", "ProtectSystem=strict", "ProtectSystem=strictly"),
            Fault(v.command_line, "an unknown option", "--wait", "--waitt"),
        ),
    ),
    Case(
        "systemd/trichord-watch.service",
        (
            Fault(v.systemd, "a program that does not exist", "ExecStart=/", "ExecStart=/nowhere/"),
            Fault(v.command_line, "an unknown verb", " watch ", " wacht "),
        ),
    ),
    Case("systemd/trichord-nightly.timer", (Fault(v.systemd, "a wrong hour", " 02:", " 26:"),)),
    Case(
        "airflow/trichord_nightly.py",
        (
            Fault(v.orchestrated, "retries of a refused gate", "raise AirflowFailException", "raise AirflowException"),
            Fault(v.orchestrated, "a wrong hour", '"0 2 * * *"', '"0 26 * * *"'),
            Fault(v.orchestrated, "no SIGTERM", "signal.SIGTERM", "signal.SIGKILL"),
            Fault(v.orchestrated, "no Python", "def execute(self", "def execute(self self"),
            _VERB,
        ),
    ),
    Case(
        "dagster/trichord_nightly.py",
        (
            Fault(v.orchestrated, "retries of a refused gate", "allow_retries=False", "allow_retries=True"),
            Fault(v.orchestrated, "a wrong hour", '"0 2 * * *"', '"0 26 * * *"'),
            _VERB,
        ),
    ),
    Case(
        "github/trichord-nightly.yml",
        (
            _misspelt(v.workflow, "runs-on"),
            Fault(v.workflow, "a right to write", "contents: read", "contents: write"),
            Fault(v.workflow, "a wrong hour", "0 2 * * *", "0 26 * * *"),
            _misspelt(v.actionlint, "timeout-minutes"),
            Fault(v.command_line, "an unknown option", "--wait", "--waitt"),
        ),
    ),
)
BY_NAME = {case.name: case for case in CASES}
EXAMINED_BY_OTHERS = ("prometheus/", "grafana/")  # promtool, and the dashboard's own tests
DATA = ("docker/requirements.lock", "docker/faiss-cpu.lock", "docker/faiss-gpu.lock", "kubernetes/base/trichord.yaml")
