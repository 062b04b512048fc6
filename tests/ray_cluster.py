"""A Ray cluster of several nodes that ask for a token, on one machine, whose workers do not have our code.

It lives in a network namespace of its own, as Ray binds every address of its host: nothing outside reaches it. Each
node has an address and a folder. Needs root and `ip` (Debian: iproute2); it takes a minute to start, so run it alone.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil

import trichord

TRIES = 3  # a raylet must start within 30 s, which fails on a busy machine
SOURCES = Path(trichord.__path__[0])


def is_possible() -> bool:
    """Return True if this user may make network namespaces."""
    return os.geteuid() == 0 and shutil.which("ip") is not None


class RayCluster:
    """A head and `nodes - 1` more raylets with a core each."""

    def __init__(self, nodes: int = 3) -> None:
        self._nodes = nodes
        self._space = f"trichord-{os.getpid()}"
        self.folder = Path(tempfile.mkdtemp(prefix="rc-"))  # short: paths of sockets have 107 characters at most
        self.token = self.folder / "token"
        self.address, self.dashboard = f"{_ip(0)}:6379", f"http://{_ip(0)}:8265"

    def __enter__(self) -> RayCluster:
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def run(self, *command: str, check: int | None = 0, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a command beside the cluster, with its token."""
        options = {"capture_output": True, "text": True, "timeout": 600, "check": False, **options}
        done = subprocess.run(self.argv(*command), env=self.environment(options.pop("env", {})), **options)
        if check is not None:
            assert done.returncode == check, f"exit {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-6000:]}"
        return done

    def popen(self, *command: str, env: Mapping[str, str] | None = None, **options: Any) -> subprocess.Popen[str]:
        """Start a command beside the cluster."""
        return subprocess.Popen(self.argv(*command), env=self.environment(env or {}), text=True, **options)

    def argv(self, *command: str) -> list[str]:
        """Return a command as it runs inside the namespace."""
        return ["ip", "netns", "exec", self._space, *command]

    def environment(self, more: Mapping[str, str]) -> dict[str, str]:
        """Return the environment of a user of the cluster."""
        path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
        own = {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(self.token),
            "PATH": path,
            "OMP_WAIT_POLICY": "PASSIVE",
        }
        return {**os.environ, **own, **more}

    def kill_node(self, number: int) -> bool:
        """SIGKILL a node with all its workers; return False if it was dead."""
        raylets = [one for one in self._processes() if _is_raylet(one, number)]
        victims = [*raylets, *(child for raylet in raylets for child in raylet.children(recursive=True))]
        for process in victims:
            with suppress(psutil.Error):
                process.kill()
        return bool(raylets)

    def start_node(self, number: int) -> None:
        """Start a node; number 0 is the head."""
        place = self.folder / f"n{number}"
        role = [f"--address={self.address}"]
        if number == 0:
            role = ["--head", "--port=6379", f"--dashboard-host={_ip(0)}"]
        common = [
            f"--node-ip-address={_ip(number)}",
            "--num-cpus=1",
            "--object-store-memory=200000000",
            f"--temp-dir={place}",
        ]
        command = [str(self.python), "-m", "ray.scripts.scripts", "start", "--disable-usage-stats", *role, *common]
        bare = {"PATH": f"{self.python.parent}{os.pathsep}{os.environ['PATH']}", "RAY_worker_niceness": "0"}
        for left in reversed(range(TRIES)):
            environment = {name: value for name, value in self.environment(bare).items() if name != "PYTHONPATH"}
            done = subprocess.run(
                self.argv(*command),
                env=environment,
                cwd=self.folder,
                capture_output=True,
                text=True,
                timeout=180,
                check=False,
            )
            if done.returncode == 0:
                return
            self.kill_node(number)
            assert left, f"node {number} did not start {TRIES} times\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
            time.sleep(5)

    @property
    def python(self) -> Path:
        """The nodes' Python: it has every library, and not our code."""
        return self.folder / "bare" / "bin" / "python"

    def close(self) -> None:
        """Kill what runs in the namespace, and remove it."""
        for process in self._processes():
            with suppress(psutil.Error):
                process.kill()
        subprocess.run(["ip", "netns", "delete", self._space], capture_output=True, check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self) -> None:
        self.token.touch(mode=0o600)
        self.token.write_text(secrets.token_hex(32))
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", self.folder / "bare"], check=True)
        [packages] = (self.folder / "bare" / "lib").glob("python*/site-packages")
        # A folder that a .pth file names is put on the path, without its own .pth files: no editable install of ours.
        (packages / "shared.pth").write_text(f"{Path(psutil.__file__).parents[1]}\n")
        subprocess.run(["ip", "netns", "add", self._space], check=True)
        subprocess.run(["ip", "-n", self._space, "link", "set", "lo", "up"], check=True)
        for number in range(self._nodes):
            subprocess.run(["ip", "-n", self._space, "addr", "add", f"{_ip(number)}/32", "dev", "lo"], check=True)
        for number in range(self._nodes):
            self.start_node(number)

    def _processes(self) -> list[psutil.Process]:
        found = subprocess.run(["ip", "netns", "pids", self._space], capture_output=True, text=True, check=False)
        processes = []
        for pid in found.stdout.split():
            with suppress(psutil.NoSuchProcess):
                processes.append(psutil.Process(int(pid)))
        return processes


def _ip(number: int) -> str:
    return f"10.77.0.{number + 1}"


def _is_raylet(process: psutil.Process, number: int) -> bool:
    try:
        command = process.cmdline()
    except psutil.Error:
        return False
    return bool(command) and command[0].endswith("/raylet") and f"--node_ip_address={_ip(number)}" in command
