"""Let the operating system refuse what a run needs: a full disk, a read-only file system, no permission, descriptors.

`python -m tests.faults.refused` prints what came of it as JSON, `--only lake` a part. It works in a namespace of its
own (`unshare`, which needs no root where user namespaces are allowed): the lake and TMPDIR are small file systems in
memory, which are filled or made read-only when a stage is reported as done. Without root's capabilities a folder's mode
counts even for root. For media that are swapped between plan and read: `tests.transforms.test_changed_while_read`.
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
from trichord.infra.lake import layout

STAGES = ("", "records", "duplicates", "features", "model", "vectors", "index")  # "": before the first
VERBS = ("prepare", "reindex --no-publish", "publish", "rollback", "recover --yes")  # all that write, on a changed lake
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
    command = [
        "unshare",
        "-Urm" if mounting else "-U",
        sys.executable,
        "-m",
        "tests.faults.refused",
        "--inside",
        *arguments,
    ]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=3_600)
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


class Scene:
    """A project whose lake and TMPDIR are small file systems of their own."""

    def __init__(self, folder: Path, records: int) -> None:
        self.project = write_project(folder, records=records)
        self.run = ("--project", str(self.project), "--json")
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

    def run_until(self, stage: str, refuse: Callable[[], object], allow: Callable[[], object]) -> dict[str, Any]:
        """Refuse something when a stage is done ("": at the start), and later allow it and run again."""
        refused = not stage
        if refused:
            refuse()
        with start(self.project, env={**os.environ, "TMPDIR": str(self.temporary)}) as driver:
            assert driver.stderr is not None
            read = []
            for line in driver.stderr:
                read.append(line)
                if not refused and f'"stage_done", "stage": "{stage}"' in line:
                    driver.send_signal(signal.SIGSTOP)
                    refuse()
                    driver.send_signal(signal.SIGCONT)
                    refused = True
            driver.wait(timeout=300)
        allow()
        found = self.judge(driver.returncode, "".join(read))
        return found | self.again("reindex")

    def run_verb(self, verb: str, refuse: Callable[[], object], allow: Callable[[], object]) -> dict[str, Any]:
        """Refuse something while a verb runs that writes to a lake with two publications, then run it again."""
        trichord_process("reindex", *self.run)
        self.change()
        trichord_process("reindex", *self.run)
        self.change()
        if verb == "publish":
            trichord_process("reindex", "--no-publish", *self.run)
        elif verb.startswith("recover"):
            next((self.lake / "records" / layout.COPIES).iterdir()).unlink()
        refuse()
        done = trichord_process(*verb.split(), *self.run, check=None, env={**os.environ, "TMPDIR": str(self.temporary)})
        allow()
        found = self.judge(done.returncode, done.stderr)
        return found | self.again(verb)

    def again(self, verb: str) -> dict[str, Any]:
        """Run what was refused once more."""
        done = trichord_process(*verb.split(), *self.run, check=None)
        return {"again": done.returncode} | ({"says_again": done.stderr[-2000:]} if done.returncode else {})

    def change(self) -> None:
        """Take rows away."""
        manifest = self.project.parent / "corpus" / "manifest.jsonl"
        manifest.write_text("".join(manifest.read_text().splitlines(keepends=True)[3:]))

    def full(self, place: Path) -> tuple[Callable[[], object], Callable[[], object]]:
        """How to fill a place, and to free it."""
        return lambda: self.fill(place), lambda: (place / "filler").unlink()

    def read_only(self) -> tuple[Callable[[], object], Callable[[], object]]:
        """How to make the lake read-only, and writable again."""

        def mount(how: str) -> None:
            subprocess.run(["mount", "-o", f"remount,{how}", str(self.lake)], check=True)

        return lambda: mount("ro"), lambda: mount("rw")

    def forbidden(self) -> tuple[Callable[[], object], Callable[[], object]]:
        """How to take away the permission to write to any folder of the lake, and to give it back."""

        def change(mode: int) -> None:
            for folder in (self.lake, *(path for path in self.lake.rglob("*") if path.is_dir())):
                folder.chmod(mode)

        return lambda: change(0o555), lambda: change(0o755)

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
        return found | self.again("reindex")


def _inside(kind: str, which: str, records: int) -> dict[str, Any]:
    """Try one case: `<what is refused>` at a stage, or `verb:<what is refused>` for a verb."""
    with tempfile.TemporaryDirectory(prefix="trichord-refused-") as folder:
        scene = Scene(Path(folder), records)
        verb, _, refused = kind.rpartition(":")
        if refused == "descriptors":
            limit = int(which)
            lower = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))  # noqa: E731
            return scene.refuse(lambda: None, lambda: None, preexec_fn=lower)
        if refused in ("lake", "temporary", "read-only"):
            scene.mount()
        ways = {
            "lake": lambda: scene.full(scene.lake),
            "temporary": lambda: scene.full(scene.temporary),
            "read-only": scene.read_only,
            "mode": scene.forbidden,
        }
        found = (scene.run_verb if verb else scene.run_until)(which, *ways[refused]())
        for one in (scene.lake, scene.temporary) if refused != "mode" else ():
            subprocess.run(["umount", str(one)], check=True)
        return found


def measure(records: int, only: str = "") -> dict[str, Any]:
    """Try everything. JSON-ready by what is refused: exit code, message, what is left, and the rerun's exit code."""
    cases = {f"{kind} {stage or 'start'}": (kind, stage) for kind in ("lake", "read-only", "mode") for stage in STAGES}
    cases |= {f"temporary {stage or 'start'}": ("temporary", stage) for stage in ("", "features", "vectors")}
    cases |= {f"descriptors {limit}": ("descriptors", str(limit)) for limit in DESCRIPTORS}
    cases |= {f"{verb}, {kind}": (f"verb:{kind}", verb) for verb in VERBS for kind in ("lake", "read-only", "mode")}
    found = {}
    for name, (kind, which) in cases.items():
        if only in name:
            found[name] = run_in_namespace(kind, which, str(records), mounting="mode" not in kind)
            sys.stderr.write(f"{name}: {json.dumps(found[name])}\n")
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inside", nargs=3, metavar=("KIND", "WHICH", "RECORDS"))
    parser.add_argument("--records", type=int, default=40)
    parser.add_argument("--only", default="", help="part of a case's name")
    options = parser.parse_args()
    if options.inside:
        kind, which, records = options.inside
        sys.stdout.write(json.dumps(_inside(kind, which, int(records))) + "\n")
    else:
        sys.stdout.write(json.dumps(measure(options.records, options.only), indent=2) + "\n")
