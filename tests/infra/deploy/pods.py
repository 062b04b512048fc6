"""What a restricted namespace and an engineer on call want of pods, which no schema says.

From the restricted profile of Kubernetes' Pod Security Standards: non-root, seccomp, no escalation, no capabilities, no
part of the host. Beyond it: a read-only root, resources, no token, time to end, and names that lead somewhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

GRACE_S = 25 + 5  # that running tasks get, and the time to remove temporary files


def complaints(documents: list[dict[str, Any]]) -> list[str]:
    """Return what is wrong with the pods of some documents, and what refers to nothing."""
    found = []
    for document in documents:
        name = f"{document['kind']} {document['metadata'].get('name') or document['metadata'].get('generateName')}"
        found += [f"{name}: {one}" for spec in _pods(document) for one in _of_pod(spec)]
        if document["kind"] == "CronJob":
            found += [f"{name}: {one}" for one in _of_night(document["spec"])]
    return found + list(_loose_ends(documents))


def _pods(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        if "containers" in node:
            yield node
        for one in node.values():
            yield from _pods(one)
    elif isinstance(node, list):
        for one in node:
            yield from _pods(one)


def _of_pod(spec: dict[str, Any]) -> Iterator[str]:
    security = spec.get("securityContext", {})
    if security.get("runAsNonRoot") is not True or security.get("runAsUser") == 0:
        yield "may run as root"
    if security.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        yield "has no seccomp profile"
    if spec.get("automountServiceAccountToken") is not False:
        yield "gets a token of the cluster"
    if any(spec.get(key) for key in ("hostNetwork", "hostPID", "hostIPC")):
        yield "shares the host"
    if spec.get("terminationGracePeriodSeconds", 30) < GRACE_S and "submitter" not in str(spec["containers"]):
        yield f"is killed before the {GRACE_S} s that a run takes to end in order"
    volumes = {volume["name"]: volume for volume in spec.get("volumes", [])}
    if any("hostPath" in volume for volume in volumes.values()):
        yield "mounts a folder of the host"
    for container in spec["containers"]:
        yield from (f"{container['name']} {one}" for one in _of_container(container, volumes))


def _of_container(container: dict[str, Any], volumes: dict[str, Any]) -> Iterator[str]:
    security = container.get("securityContext", {})
    if security.get("allowPrivilegeEscalation") is not False or security.get("privileged"):
        yield "may gain privileges"
    if security.get("capabilities", {}).get("drop") != ["ALL"]:
        yield "keeps capabilities"
    if security.get("readOnlyRootFilesystem") is not True:
        yield "may write to its root"
    resources = container.get("resources", {})
    if not {"cpu", "memory"} <= set(resources.get("requests", {})) or "memory" not in resources.get("limits", {}):
        yield "has no requests, or no limit of memory"
    image = container.get("image", "")
    if image.endswith(":latest") or (image != "trichord" and ":" not in image.rpartition("/")[2]):
        yield f"takes any version of {image or 'no image'}"  # the base's `trichord` is replaced by the overlay
    mounts = container.get("volumeMounts", [])
    yield from (f"mounts {one['name']}, which is no volume" for one in mounts if one["name"] not in volumes)
    if not any(one["mountPath"] == "/tmp" for one in mounts):
        yield "has no /tmp"
    ports = {port["name"] for port in container.get("ports", [])}
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        if probe in container and container[probe]["httpGet"]["port"] not in ports:
            yield f"has a {probe} of no port"
    if any(variable.get("value") and "SECRET_" in variable["name"] for variable in container.get("env", [])):
        yield "holds a secret"


def _of_night(spec: dict[str, Any]) -> Iterator[str]:
    job = spec["jobTemplate"]["spec"]
    if spec.get("concurrencyPolicy") != "Forbid":
        yield "may run twice at a time"
    if not spec.get("timeZone") or not spec.get("startingDeadlineSeconds"):
        yield "has no time zone, or no deadline for its start"
    policy = job.get("podFailurePolicy", {}).get("rules", [])
    if policy:
        names = {one["name"] for one in job["template"]["spec"]["containers"]}
        codes = {rule["action"]: rule["onExitCodes"] for rule in policy if "onExitCodes" in rule}
        if job["template"]["spec"].get("restartPolicy") != "Never":
            yield "has a policy of failures that its restarts evade"
        if codes.get("FailJob", {}).get("values") != [2, 3]:
            yield "tries again what fails again (exits 2 and 3)"
        if any(rule["containerName"] not in names for rule in codes.values()):
            yield "has a policy of failures for no container"
    elif job.get("backoffLimit") != 0:
        yield "tries again whatever the exit code"


def _loose_ends(documents: list[dict[str, Any]]) -> Iterator[str]:
    """Selectors that select nothing, where the documents hold pods with labels."""
    templates = [labels for document in documents for labels in _labels(document)]
    if not templates:
        return
    for document in documents:
        spec = document.get("spec", {})
        named = document["kind"], document["metadata"].get("name")
        wanted = {
            "Service": spec.get("selector"),
            "NetworkPolicy": spec.get("podSelector", {}).get("matchLabels"),
            "Deployment": spec.get("selector", {}).get("matchLabels") if document["kind"] == "Deployment" else None,
        }.get(document["kind"])
        if wanted and not any(wanted.items() <= labels.items() for labels in templates):
            yield f"{named[0]} {named[1]} selects no pod"


def _labels(node: Any) -> Iterator[dict[str, str]]:
    if isinstance(node, dict):
        template = node.get("template")
        if isinstance(template, dict) and (labels := template.get("metadata", {}).get("labels")):
            yield labels
        for one in node.values():
            yield from _labels(one)
    elif isinstance(node, list):
        for one in node:
            yield from _labels(one)
