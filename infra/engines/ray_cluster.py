"""Connecting to a Ray cluster: it must answer, and its workers must have our code in versions equal to ours.

Where they lack the code, it is shipped with the connection, as a Ray runtime environment. In a job that Ray's Jobs API
started, nothing is shipped: the job's own runtime environment holds the code.
"""

from __future__ import annotations

import os
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

_NOT_IMPORTED = "failed to import on the worker"  # of a function or an actor, in Ray's words
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
    lacking = [versions.PACKAGE, *own]
    _require_equal(wanted, by_node, [name for name in wanted if in_job() or name not in lacking])
    if any(differences(wanted, found, lacking) for found in by_node.values()):
        ray.shutdown()
        with scratch_folder("ship") as folder:
            _init(address, {**options, "runtime_env": {"py_modules": shipping.stage(folder, own)}})
        log.event("ray_code_shipped", package=versions.PACKAGE, modules=own)
        by_node = _probe(modules)
        _require_equal(wanted, by_node, list(wanted))


def in_job() -> bool:
    """Return True in a driver that Ray's Jobs API started."""
    return "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ


def require_answer(address: str, advice: str = _NEXT) -> None:
    """Raise with the advice unless a cluster answers at the address and takes this process's token, within `ANSWER_S`.

    Raises:
        ConfigError: the address is malformed, or `auto` finds no cluster.
        ServiceError: nothing answers there, or it refuses the token.
    """
    client = address.startswith(_CLIENT)
    if "://" in address and not client:
        raise ConfigError(f"{redact(address)} is not an address of a Ray cluster for runs.\n{advice}")
    try:
        target = address.removeprefix(_CLIENT) if client else canonicalize_bootstrap_address(address)
    except (ValueError, OSError) as error:
        raise ConfigError(f"{redact(address)} is not an address of a Ray cluster: {error}\n{advice}") from error
    if target is None:
        raise ConfigError(f"No Ray cluster was found on this machine (address {address!r}).\n{advice}")
    channel = None
    try:
        channel = init_grpc_channel(target)
        grpc.channel_ready_future(channel).result(timeout=ANSWER_S)
        # Any answer but one will do: Ray asks the rest itself.
        ask = "/ray.rpc.RayletDriver/ClusterInfo" if client else "/ray.rpc.NodeInfoGcsService/CheckAlive"
        channel.unary_unary(ask)(b"", timeout=ANSWER_S / 2)
    except ray.exceptions.AuthenticationError as error:
        raise ConfigError(f"The Ray cluster at {target} asks for a token: {_said(error)}") from error
    except grpc.FutureTimeoutError as error:
        raise ServiceError(f"No Ray cluster answers at {redact(address)} ({ANSWER_S:g} s).\n{advice}") from error
    except grpc.RpcError as error:
        if error.code() == grpc.StatusCode.UNAUTHENTICATED:
            raise ServiceError(
                f"The Ray cluster at {target} refused this process's token.\n"
                "Next: set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN_PATH to a file with the cluster's token."
            ) from error
    finally:
        if channel is not None:
            channel.close()


def require_importable(error: BaseException) -> None:
    """Raise if a task failed because its worker cannot import our code: so would every other one.

    Raises:
        ConfigError: the worker's node joined later and is another one, or this process connected to Ray by itself.
    """
    said = str(error)
    if _NOT_IMPORTED in said or (isinstance(getattr(error, "cause", None), ImportError)):
        why = next((line for line in reversed(said.splitlines()) if "Error: " in line), said.strip())
        raise ConfigError(
            f"A worker of the Ray cluster cannot import what this run needs: {redact(why.strip()[:300])}\n"
            "Next: leave the connection to trichord (RAY_ADDRESS or engine.address), which sends its code, or install "
            "the same versions there."
        ) from error


def differences(wanted: Versions, found: Versions, names: Collection[str]) -> list[str]:
    """Return which of `names` a worker has in another version than this process, or lacks, for people."""
    told = []
    for name, version in wanted.items():
        if version is not None and found.get(name) != version and name in names:
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
    # Without a core, or it would wait for one. Ray's types know no function with an argument here.
    task: Any = cast(Any, ray.remote(num_cpus=0, max_retries=2))(versions.versions)
    nodes = [node for node in cast(Any, ray).nodes() if node["Alive"] and node["Resources"].get("CPU")]
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


def _require_equal(wanted: Versions, by_node: Mapping[str, Versions], names: Collection[str]) -> None:
    told = {node: found for node, has in by_node.items() if (found := differences(wanted, has, names))}
    if not told:
        return
    ray.shutdown()
    node, first = next(iter(told.items()))
    more = "" if len(first) <= 5 else f"; {len(first) - 5} more"
    raise ConfigError(
        f"{len(told)} of {len(by_node)} nodes of the Ray cluster have other versions than this process. On {node}: "
        f"{'; '.join(first[:5])}{more}.\n"
        "Next: use one image, or `requirements.lock`, on the cluster and here. `trichord submit` sends trichord itself,"
        " and Ray can give packages to a job: `ray job submit --runtime-env-json '{\"pip\": [...]}'`."
    )


def _said(error: BaseException) -> str:
    return redact(next(iter(str(error).splitlines()), type(error).__name__)[:300])
