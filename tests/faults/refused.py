"""Let the operating system refuse what a reindex needs: a full disk at each stage, too few descriptors, no permission.

`python -m tests.faults.refused` prints one JSON line. It works in a namespace of its own (`unshare`, which needs no
root where user namespaces are allowed): the lake and TMPDIR are small file systems in memory, which are filled when a
stage is reported as done. Without root's capabilities a folder's mode counts even for root.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.faults.kill import start
from tests.faults.left import is_clean, leftovers, message_of
from tests.pipelines.lakes import trichord_process, write_project

STAGES = ("", "records", "duplicates", "features", "model", "vectors", "index")  # "": before the first
SIZE = "96m"
DESCRIPTORS = (12, 16, 20)


def is_possible() -> bool:
    """Whether this machine lets this user mount a file system in a namespace of its own."""
    mount = ["unshare", "-Urm", "mount", "-t", "tmpfs", "none", "/mnt"]
    return (
        shutil.which("unshare") is not None and not subprocess.run(mount, check=False, capture_output=True).returncode
    )


def run_in_namespace(*arguments: str, mounting: bool = True) -> dict[str, Any]:
    """Run this module's `--inside` in a namespace and return what it found."""
    command = ["unshare", "-Urm" if mounting else "-U", sys.executable, "-m", __name__, "--inside", *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=3_600)
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


class Scene:
    """A project whose lake and TMPDIR are small file systems of their own."""

    def __init__(self, folder: Path, records: int) -> None:
        self.project = write_project(folder, records=records)
        self.lake, self.temporary = folder / "lake", folder / "temporary"
        for place in (self.lake, self.temporary):
            place.mkdir()

    def mount(self) -> None:
        """Put a new small file system at both places."""
        for place in (self.lake, self.temporary):
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "none", str(place)], check=True)

    def fill(self, place: Path) -> Path:
        """Use all space of a file system; returns the file to remove."""
        filler = place / "filler"
        with filler.open("wb") as file:
            free = os.statvfs(place)
            os.posix_fallocate(file.fileno(), 0, free.f_bavail * free.f_frsize)
        return filler

    def run_full(self, stage: str, place: Path) -> dict[str, Any]:
        """Fill a place when a stage is done, and later free it and run again."""
        self.mount()
        filler = self.fill(place) if not stage else None
        with start(self.project, env={**os.environ, "TMPDIR": str(self.temporary)}) as driver:
            assert driver.stderr is not None
            read = []
            for line in driver.stderr:
                read.append(line)
                if filler is None and f'"stage_done", "stage": "{stage}"' in line:
                    driver.send_signal(signal.SIGSTOP)
                    filler = self.fill(place)
                    driver.send_signal(signal.SIGCONT)
            driver.wait(timeout=300)
        found = self.judge(driver.returncode, "".join(read))
        assert filler is not None
        filler.unlink()
        again = trichord_process("reindex", "--project", str(self.project), "--json", check=None)
        for one in (self.lake, self.temporary):
            subprocess.run(["umount", str(one)], check=True)
        return found | {"again": again.returncode}

    def judge(self, code: int, stderr: str) -> dict[str, Any]:
        """How a run ended, what it said, and what it left."""
        left = [name for name in leftovers(self.lake, self.temporary) if name != "filler"]
        return {"code": code, "says": message_of(stderr).get("message", ""), "clean": is_clean(stderr), "left": left}

    def refuse(self, prepare: Callable[[], object], repair: Callable[[], object], **options: Any) -> dict[str, Any]:
        """Run where something is refused, then repair it and run again."""
        environment = {**os.environ, "TMPDIR": str(self.temporary)}
        prepare()
        with start(self.project, env=environment, **options) as driver:
            _, err = driver.communicate(timeout=300)
        repair()
        found = self.judge(driver.returncode, err)
        again = trichord_process("reindex", "--project", str(self.project), "--json", check=None)
        return found | {"again": again.returncode}


def _inside(kind: str, which: str, records: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="trichord-refused-") as folder:
        scene = Scene(Path(folder), records)
        if kind in ("lake", "temporary"):
            return scene.run_full(which, getattr(scene, kind))
        if kind == "descriptors":
            limit = int(which)
            lower = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))  # noqa: E731
            return scene.refuse(lambda: None, lambda: None, preexec_fn=lower)
        trichord_process("reindex", "--project", str(scene.project), "--json")
        rows = (scene.project.parent / "corpus" / "manifest.jsonl").read_text().splitlines(keepends=True)
        (scene.project.parent / "corpus" / "manifest.jsonl").write_text("".join(rows[5:]))
        if kind == "read-only":
            bind = ["mount", "--bind", str(scene.lake), str(scene.lake)]
            subprocess.run(bind, check=True)
            remount = ["mount", "-o", "remount,bind,ro", str(scene.lake)]
            return scene.refuse(
                lambda: subprocess.run(remount, check=True),
                lambda: subprocess.run(["umount", str(scene.lake)], check=True),
            )
        place = scene.lake / which
        return scene.refuse(lambda: place.chmod(0o555), lambda: place.chmod(0o755))


def measure(records: int) -> dict[str, Any]:
    """Try everything. JSON-ready by what is refused: exit code, message, what is left, and the rerun's exit code."""
    found = {f"lake full after {stage or 'nothing'}": run_in_namespace("lake", stage, str(records)) for stage in STAGES}
    for stage in ("", "features", "vectors"):
        found[f"TMPDIR full after {stage or 'nothing'}"] = run_in_namespace("temporary", stage, str(records))
    for limit in DESCRIPTORS:
        found[f"{limit} descriptors"] = run_in_namespace("descriptors", str(limit), str(records))
    found["lake read-only"] = run_in_namespace("read-only", "", str(records))
    for folder in ("_at_work", "records", "_plans", "index", "vectors/_delta_log"):
        found[f"no permission for {folder}"] = run_in_namespace("mode", folder, str(records), mounting=False)
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inside", nargs=3, metavar=("KIND", "WHICH", "RECORDS"))
    parser.add_argument("--records", type=int, default=40)
    options = parser.parse_args()
    if options.inside:
        kind, which, records = options.inside
        sys.stdout.write(json.dumps(_inside(kind, which, int(records))) + "\n")
    else:
        sys.stdout.write(json.dumps(measure(options.records), indent=2) + "\n")
