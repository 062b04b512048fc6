"""Connecting to a Ray cluster: it must answer, and its workers must have our code in versions equal to ours.

Where they lack the code, it is shipped with the connection, as a Ray runtime environment. In a job that Ray's Jobs API
started, the job's own runtime environment is in force; what is shipped is added to it.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any, cast

import grpc
import ray
import ray.exceptions
from ray import cloudpickle
from ray._private.grpc_utils import init_grpc_channel
from ray._private.services import canonicalize_bootstrap_address
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from trichord.infra import log
from trichord.infra.engines import shipping, versions
from trichord.infra.errors import ConfigError, PartialRun, ServiceError
from trichord.infra.redaction import redact
from trichord.infra.scratch import scratch_folder

ANSWER_S = 10.0  # a cluster that does not answer is reported within 15 s; Ray itself takes two minutes
PROBE_S = 300.0  # a first worker on a busy node may take this long to start
_CLIENT = "ray://"
_NEXT = "Next: check engine.address and RAY_ADDRESS (HOST:6379, ray://HOST:10001 or auto), and `ray status` there."

cast(Any, cloudpickle).register_pickle_by_value(versions)  # where it arrives, nothing of ours may be importable

Versions = Mapping[str, str | None]


def connect(address: str, modules: Sequence[str], options: Mapping[str, Any]) -> None:
    """Connect this process to a cluster, ship the code if its workers lack it, and check their versions.

    Args:
        address: HOST:PORT of the head, ray://HOST:PORT of Ray Client, or auto.
        modules: top-level modules of the project that tasks import.
        options: of `ray.init`.

    Raises:
        ConfigError: the address is malformed, or workers have other versions than this process.
        ServiceError: the cluster does not answer, or refuses the token.
        PartialRun: no worker could be started on it.
    """
    require_answer(address)
    _init(address, options)
    wanted = versions.versions(modules)
    own = [name for name in modules if not shipping.is_installed(name)]
    by_node = _probe(modules)
    if any(differences(wanted, found, [versions.PACKAGE, *own]) for found in by_node.values()):
        ray.shutdown()
        with scratch_folder("ship") as folder:
            _init(address, {**options, "runtime_env": {"py_modules": shipping.stage(folder, own)}})
        log.event("ray_code_shipped", package=versions.PACKAGE, modules=own)
        by_node = _probe(modules)
    told = {node: differences(wanted, found) for node, found in by_node.items()}
    if any(told.values()):
        ray.shutdown()
        raise ConfigError(_difference(told))


def require_answer(address: str) -> None:
    """Raise unless a cluster answers at the address, and takes this process's token, within `ANSWER_S`.

    Raises:
        ConfigError: the address is malformed, or `auto` finds no cluster.
        ServiceError: nothing answers there, or it refuses the token.
    """
    client = address.startswith(_CLIENT)
    if "://" in address and not client:
        raise ConfigError(f"{redact(address)} is not an address of a Ray cluster for runs.\n{_NEXT}")
    try:
        target = address.removeprefix(_CLIENT) if client else canonicalize_bootstrap_address(address)
    except (ValueError, OSError) as error:
        raise ConfigError(f"{redact(address)} is not an address of a Ray cluster: {error}\n{_NEXT}") from error
    if target is None:
        raise ConfigError(f"No Ray cluster was found on this machine (address {address!r}).\n{_NEXT}")
    channel = init_grpc_channel(target)
    try:
        grpc.channel_ready_future(channel).result(timeout=ANSWER_S)
        # Any answer but one will do: Ray asks the rest itself.
        ask = "/ray.rpc.RayletDriver/ClusterInfo" if client else "/ray.rpc.NodeInfoGcsService/CheckAlive"
        channel.unary_unary(ask)(b"", timeout=ANSWER_S / 2)
    except grpc.FutureTimeoutError as error:
        raise ServiceError(f"No Ray cluster answers at {target} ({ANSWER_S:g} s).\n{_NEXT}") from error
    except grpc.RpcError as error:
        if error.code() == grpc.StatusCode.UNAUTHENTICATED:
            raise ServiceError(
                f"The Ray cluster at {target} refused this process's token.\n"
                "Next: set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN_PATH to a file with the cluster's token."
            ) from error
    finally:
        channel.close()


def differences(wanted: Versions, found: Versions, names: Collection[str] | None = None) -> list[str]:
    """Return what a worker has in another version than this process, or lacks, for people; `names` limits the look."""
    told = []
    for name, version in wanted.items():
        if version is not None and found.get(name) != version and (names is None or name in names):
            told.append(f"{name} {version} here, {found.get(name) or 'missing'} there")
    return told


def _init(address: str, options: Mapping[str, Any]) -> None:
    try:
        ray.init(address, **options)
    except (ConnectionError, TimeoutError) as error:
        raise ServiceError(f"The connection to the Ray cluster at {address} failed: {_said(error)}\n{_NEXT}") from error
    except RuntimeError as error:  # Ray's own check of its version and of Python's
        raise ConfigError(
            f"The Ray cluster at {address} refused this process: {_said(error)}\n"
            "Next: run this in the cluster's image, or install the same versions here."
        ) from error


def _probe(modules: Sequence[str]) -> dict[str, Versions]:
    """Return the versions on every node that runs tasks, by its address."""
    task = ray.remote(num_cpus=0, max_retries=2)(versions.versions)  # without a core, or it would wait for one
    nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    asked = {
        task.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)).remote(
            list(modules)
        ): node["NodeManagerAddress"]
        for node in nodes
    }
    found: dict[str, Versions] = {}
    errors: list[BaseException] = []
    deadline_s = time.monotonic() + PROBE_S
    waiting = list(asked)
    while waiting:
        ready, waiting = ray.wait(waiting, num_returns=1, timeout=max(0.0, deadline_s - time.monotonic()))
        if not ready:
            break
        try:
            found[asked[ready[0]]] = ray.get(ready[0])
        except ray.exceptions.RayError as error:  # the node died, or could not set up what was shipped
            errors.append(error)
    if not found and nodes:
        why = f": {_said(errors[0])}" if errors else f" within {PROBE_S:g} s"
        ray.shutdown()
        raise PartialRun(f"No worker could be started on the Ray cluster{why}.\nNext: `ray status`, then run it again.")
    return found


def _difference(told: Mapping[str, Sequence[str]]) -> str:
    nodes = [node for node, differences in told.items() if differences]
    first = told[nodes[0]]
    more = "" if len(first) <= 5 else f"; {len(first) - 5} more"
    return (
        f"{len(nodes)} of {len(told)} nodes of the Ray cluster have other versions than this process. On {nodes[0]}: "
        f"{'; '.join(first[:5])}{more}.\n"
        "Next: use one image, or `requirements.lock`, on the cluster and here; or give the job the packages: "
        "`ray job submit --runtime-env-json '{\"pip\": [...]}'`."
    )


def _said(error: BaseException) -> str:
    return redact(next(iter(str(error).splitlines()), type(error).__name__)[:300])
