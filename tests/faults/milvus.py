"""Loads of a Milvus collection that are disturbed at a chosen step, and where a rerun of them ends.

A collection `old` is live; a second, `new`, is filled and the alias moved to it, as publishing does. A step is a call
to the server or a note in the lake. Whatever happens, readers must be sent to the old rows or to the new ones, all of
them, and a rerun must end with the new ones. `python -m tests.faults.milvus --json` tries every step; the suite tries
some.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.index_builders.backends import milvus_manifest, place
from tests.index_builders.corpus import STORAGE, tables
from tests.milvus_server import MilvusServer, nightly_settings
from trichord.index_builders.manifest import IndexManifest, read_manifest
from trichord.index_builders.milvus import load
from trichord.index_builders.milvus.builder import collection_of
from trichord.index_builders.milvus.client import Milvus, MilvusPlace, connected
from trichord.index_builders.milvus.load import Loader
from trichord.index_builders.milvus.stage import Staged
from trichord.index_builders.milvus.state import LoadState, write_state
from trichord.infra.errors import ServiceError, TrichordError
from trichord.infra.lake.lake import Lake

ROWS = 40
POLL = "get_bulk_insert_state"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A lake whose old collection is live, and the manifest of the new one."""

    lake: str
    place: MilvusPlace
    old: IndexManifest
    new: IndexManifest

    @classmethod
    def set(cls, lake: str, where: MilvusPlace) -> Scene:
        """Fill the old collection and send readers to it."""
        shards = tables(3, ROWS, 16)
        names = sorted(shards)
        prefix = where.config.prefix
        new = milvus_manifest(lake, shards, [[name] for name in names], prefix=prefix)
        old = milvus_manifest(lake, shards, [[name] for name in names[1:]], prefix=prefix)
        publish(lake, where, old)
        return cls(lake=lake, place=where, old=old, new=new)

    def seen(self) -> str:
        """What readers are sent to: `old`, `new`, or what is wrong with it."""
        with connected(self.place) as milvus:
            target = milvus.alias_target()
            for name, manifest in (("old", self.old), ("new", self.new)):
                if target == collection_of(manifest):
                    milvus.load(target)
                    rows = milvus.count(self.place.alias)
                    return name if rows == manifest.rows else f"{name} with {rows} of {manifest.rows} rows"
            return f"sent to {target}"

    def rerun(self) -> str:
        """What the same load ends with when nobody disturbs it."""
        publish(self.lake, self.place, self.new)
        with connected(self.place) as milvus:
            Loader(Lake(STORAGE, self.lake), milvus, self.new).verify(collection_of(self.new))
        return self.seen()

    def reset(self) -> None:
        """Back to the old collection alone."""
        publish(self.lake, self.place, self.old)
        with connected(self.place) as milvus:
            milvus.drop(collection_of(self.new))
        STORAGE.delete(f"{self.lake}/index/collections/{collection_of(self.new)}.json")


def publish(lake: str, where: MilvusPlace, manifest: IndexManifest) -> None:
    """Fill a collection, and send readers to it."""
    with connected(where) as milvus:
        loader = Loader(Lake(STORAGE, lake), milvus, manifest)
        loader.ensure()
        milvus.set_alias(collection_of(manifest))
        loader.verify_alias()


@contextmanager
def stepping(at_step: Callable[[int, str], None]) -> Iterator[None]:
    """Call `at_step` with number and name before every call to the server and every note in the lake.

    Polls in a row are one step: how many there are differs from load to load, and numbers must not.
    """
    count, last = 0, ""
    call, note = Milvus._call, write_state

    def step(name: str) -> None:
        nonlocal count, last
        again, last = name == last == POLL, name
        if again:
            return
        count += 1
        at_step(count, name)

    def stepped_call(self: Milvus, name: str, made: Callable[[], Any]) -> Any:
        step(name)
        return call(self, name, made)

    def stepped_note(lake: Lake, state: LoadState) -> LoadState:
        step("note")
        return note(lake, state)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Milvus, "_call", stepped_call)
        patched.setattr(load, "write_state", stepped_note)
        yield


def steps_of(scene: Scene) -> list[str]:
    """The steps of an undisturbed load, by name."""
    names: list[str] = []
    with stepping(lambda _, name: names.append(name)):
        publish(scene.lake, scene.place, scene.new)
    scene.reset()
    return names


def kill_client(scene: Scene, step: int) -> tuple[str, str]:
    """SIGKILL the loading process before a step: what readers see then, and after a rerun."""
    told = {"lake": scene.lake, "uri": scene.place.uri, "manifest": scene.new.path, "step": step}
    told["config"] = scene.place.config.model_dump(mode="json")
    command = [sys.executable, "-m", "tests.faults.milvus", "--child", json.dumps(told)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode in (-signal.SIGKILL, 0), done.stderr[-2000:]
    return scene.seen(), scene.rerun()


def kill_server(scene: Scene, server: MilvusServer, step: int) -> tuple[str, str]:
    """SIGKILL the server before a step and start it again on what is left: what readers see then, and after a rerun."""
    _disturbed(scene, lambda number, _: server.kill() if number == step else None)
    _start(server, scene.place)
    return scene.seen(), scene.rerun()


def _start(server: MilvusServer, where: MilvusPlace, within_s: float = 180.0) -> None:
    server.start()
    until = time.monotonic() + within_s
    while True:
        try:
            with connected(where):
                return
        except ServiceError:  # healthy, and yet it forgets its predecessor's session only when that ends
            if time.monotonic() > until:
                raise
        time.sleep(1)


def lose_reply(scene: Scene, step: int, server: MilvusServer | None = None) -> tuple[str, str]:
    """Let the server do what a step asks, and cut the line before it answers.

    Where that ends the server (2.3.5 while it tells of an import), `server` is started again.
    """
    with Proxy(int(scene.place.uri.rsplit(":", 1)[1])) as proxy:
        through = replace(scene, place=place(f"http://127.0.0.1:{proxy.port}", **_settings(scene.place)))
        _disturbed(through, lambda number, name: proxy.swallow() if number == step and name != "note" else None)
    if server is not None and not server.alive:
        server.kill()
        _start(server, scene.place)
    return scene.seen(), scene.rerun()


def corrupt_staged(scene: Scene, *, after_import: bool) -> tuple[str, str]:
    """Flip a bit of an import file where the server reads it, before or after it was read."""
    put, verify, flipped = Staged.put, Staged.verify, False

    def flip(staged: Staged, sha256: str) -> None:
        nonlocal flipped
        if not flipped:
            flipped = True
            flip_bit(Path(staged.folder) / f"{sha256}.parquet")

    def put_and_flip(self: Staged, source: Any, sha256: str) -> str:
        path = put(self, source, sha256)
        flip(self, sha256)
        return path

    def flip_and_verify(self: Staged, sha256: str) -> None:
        flip(self, sha256)
        verify(self, sha256)

    if after_import:
        Staged.verify = flip_and_verify  # type: ignore[method-assign]
    else:
        Staged.put = put_and_flip  # type: ignore[method-assign]
    try:
        _disturbed(scene, lambda number, name: None)
    finally:
        Staged.put, Staged.verify = put, verify  # type: ignore[method-assign]
    assert flipped
    return scene.seen(), scene.rerun()


def corrupt_block(scene: Scene, rebuild: Callable[[], object]) -> tuple[str, str]:
    """Flip a bit of an import file in the lake; `rebuild` makes what was removed, as a reindex does."""
    flip_bit(Path(scene.lake) / scene.new.shards[0].index.path)
    _disturbed(scene, lambda number, name: None)
    seen = scene.seen()
    rebuild()
    return seen, scene.rerun()


def flip_bit(path: Path) -> None:
    """Flip one bit in the middle of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)


class Proxy:
    """A TCP proxy on a port of its own; after `swallow` it cuts the line at the server's next answer, once.

    With a `context` its clients speak TLS, as before a load balancer.
    """

    def __init__(self, target: int, context: ssl.SSLContext | None = None) -> None:
        self._target, self._swallow, self._context = target, threading.Event(), context
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.cut = 0
        self.port: int = self._listening.getsockname()[1]

    def __enter__(self) -> Proxy:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.close()

    def swallow(self) -> None:
        """Cut the line when the server answers next."""
        self._swallow.set()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            if self._context is not None:
                try:
                    client = self._context.wrap_socket(client, server_side=True)
                except OSError:  # a client that does not trust us, or that we do not
                    self.cut += 1
                    continue
            server = socket.create_connection(("127.0.0.1", self._target))
            threading.Thread(target=self._pump, args=(client, server, False), daemon=True).start()
            threading.Thread(target=self._pump, args=(server, client, True), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, answers: bool) -> None:
        try:
            while data := source.recv(1 << 16):
                # Small frames are HTTP/2's own; an answer carries more. A ping that is swallowed cuts the line as well.
                if answers and self._swallow.is_set() and len(data) > 17:
                    self._swallow.clear()
                    break
                target.sendall(data)
        except OSError:  # the other side of a line that was cut
            self.cut += 1
        for end in (source, target):
            _shut(end)


def _shut(end: socket.socket) -> None:
    with suppress(OSError):  # it is down already
        end.shutdown(socket.SHUT_RDWR)
    end.close()


def _disturbed(scene: Scene, at_step: Callable[[int, str], None]) -> None:
    """Publish the new collection under a disturbance that it may answer with one of our errors."""
    # an error of ours is what a user would see; the caller looks at what is left
    with suppress(TrichordError), stepping(at_step):
        publish(scene.lake, scene.place, scene.new)


def _settings(where: MilvusPlace) -> dict[str, Any]:
    return where.config.model_dump(exclude={"uri"})


def _child(told: dict[str, Any]) -> None:
    def at_step(number: int, _: str) -> None:
        if number == told["step"]:
            os.kill(os.getpid(), signal.SIGKILL)

    config = {name: value for name, value in told["config"].items() if name != "uri"}
    manifest = read_manifest(Lake(STORAGE, told["lake"]), told["manifest"])
    with stepping(at_step):
        publish(told["lake"], place(told["uri"], **config), manifest)


def measure(*, lite: bool, every: int = 1) -> dict[str, Any]:
    """Disturb every `every`-th step. JSON-ready by disturbance: how often, what was seen, where reruns end."""
    with tempfile.TemporaryDirectory(prefix="trichord-milvus-") as folder:
        if lite:
            return _measure(Scene.set(folder, place(f"{folder}/milvus.db", prefix="faults")), None, every)
        # A killed server's session must end before the next one serves: 60 s of waiting a kill otherwise.
        with MilvusServer(Path(folder) / "server", session_s=20, settings=nightly_settings()) as server:
            where = place(**server.project, prefix="faults", timeout_s=30)
            return _measure(Scene.set(f"{folder}/lake", where), server, every)


def _measure(scene: Scene, server: MilvusServer | None, every: int) -> dict[str, Any]:
    steps = steps_of(scene)
    kinds: dict[str, Callable[[int], tuple[str, str]]] = {"killed_client": lambda step: kill_client(scene, step)}
    if server is not None:
        kinds["killed_server"] = lambda step: kill_server(scene, server, step)
        kinds["lost_reply"] = lambda step: lose_reply(scene, step, server)
    found: dict[str, Any] = {"steps": steps}
    tried = range(1, len(steps) + 1, every)
    sys.stderr.write(f"{len(tried)} of {len(steps)} steps\n")
    for kind, disturb in kinds.items():
        found[kind] = summary([_tried(scene, disturb, step) for step in tried])
    if server is not None:
        found["corrupted_file"] = summary(
            [_tried(scene, lambda late: corrupt_staged(scene, after_import=bool(late)), late) for late in (0, 1)]
        )
    return found


def _tried(scene: Scene, disturb: Callable[[int], tuple[str, str]], step: int) -> tuple[str, str]:
    started = time.monotonic()
    found = disturb(step)
    sys.stderr.write(f"step {step}: seen {found[0]}, then {found[1]} ({time.monotonic() - started:.0f} s)\n")
    scene.reset()
    return found


def summary(outcomes: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """How many disturbances, how many that left old or new, and how many whose rerun converged."""
    whole = sum(seen in ("old", "new") for seen, _ in outcomes)
    converged = sum(after == "new" for _, after in outcomes)
    odd = sorted({text for pair in outcomes for text in pair} - {"old", "new"})
    return {"tried": len(outcomes), "old_or_new": whole, "converged": converged, "odd": odd}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--child")
    options = parser.parse_args()
    if options.child:
        _child(json.loads(options.child))
    else:
        result = {"server": measure(lite=False, every=options.every), "lite": measure(lite=True, every=options.every)}
        sys.stdout.write(json.dumps(result) + "\n")
