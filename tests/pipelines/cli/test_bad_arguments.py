"""Whatever is typed: a documented exit code and one message with advice, never a traceback and never a hang."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pipelines.lakes import trichord

COMMAND = [sys.executable, "-m", "trichord.pipelines"]
LONG = 5_000


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project on two rows, beside things that are not files."""
    folder = tmp_path_factory.mktemp("place")
    (folder / "m.jsonl").write_text('{"id": "a", "text": "hello there"}\n{"id": "b", "text": "good morning"}\n')
    (folder / "p.yaml").write_text("lake: lake\nsources:\n  - {name: s, kind: manifest, path: m.jsonl}\n")
    (folder / "deep.yaml").write_text("a: " + "[" * LONG)
    (folder / "wide.yaml").write_text("a: " + "x" * 300_000)
    (folder / "latin.yaml").write_bytes(b"lake: caf\xe9\n")
    os.mkfifo(folder / "fifo")
    (folder / "dangling").symlink_to("nowhere")
    (folder / "loop").symlink_to("loop")
    (folder / "folder").mkdir()
    return folder


ODD_FILES = ("fifo", "/dev/zero", "dangling", "loop", "folder", "nowhere", "", "a" * 5_000, "\udcff")
NUMBERS = ("1e9", "-1", "0", "nan", "inf", "9" * LONG, "", "x", "0x10", "\u0663")
CASES: list[tuple[str, ...]] = [
    *(("plan", "--project", name) for name in (*ODD_FILES, "deep.yaml", "wide.yaml", "latin.yaml", "m.jsonl")),
    *(("search", option, name, "-p", "p.yaml") for option in ("--image", "--audio") for name in ODD_FILES),
    *(("ask", "why?", "--image", name, "-p", "p.yaml") for name in ODD_FILES[:3]),
    *(("rag-eval", name, "-p", "p.yaml") for name in ODD_FILES),
    *(("init", name, "--out", "new.yaml") for name in ODD_FILES[:6]),
    *(("init", "m.jsonl", "--out", name) for name in ("folder", "fifo", "m.jsonl/x", "no/such/x", "\udcff/x")),
    *(("search", "--text", "a", "-k", number, "-p", "p.yaml") for number in NUMBERS),
    *(("rejects", "ls", "--limit", number, "-p", "p.yaml") for number in NUMBERS if number not in ("1e9", "9" * LONG)),
    *(("plan", "--rows", number, "-p", "p.yaml") for number in (*NUMBERS[1:], "1e400")),
    *(("compare", "--share", number, "-p", "p.yaml") for number in NUMBERS),
    *(("compare", "--seeds", number, "-p", "p.yaml") for number in NUMBERS),
    *(("feedback", "x", "--rating", number, "-p", "p.yaml") for number in NUMBERS),
    *(("plan", "-p", "p.yaml", "--set", change) for change in (
        "", "=", "=1", "a", "a..b=1", ".=1", "a.b=" + "[" * LONG, "." * 500 + "=1", "a." * 500 + "a=1",
        "train.epochs=" + "9" * LONG, "train.epochs=1e999", "train.epochs=nan", "train.epochs=-1", "train.epochs=",
        "sources=1", "sources.9=1", "sources.x=1", "sources.0.path=fifo",
        "lake=", "lake=s3://",
        "train.epochs=\udcff", "a=${NO_SUCH}", "a=&x [*x]", "a=!!python/object:os.system x", "extends=p.yaml",
    )),
    *(("search", "--text", "a", "-p", "p.yaml", "--where", condition) for condition in (
        "", "=", "f", "=v", "f=[[[[", "f=" + "[" * 60_000, "f=" + "9" * LONG, "f=NaN", "f=1e999",
        'f="\\ud800"', "f=\udcff",
    )),
    *((verb, *more, "-p", "p.yaml") for more in (("",), ("\udcff",), ("../../x",), ("x" * LONG,)) for verb in (
        "explain", "rollback", "diff", "feedback", "ask",
    )),
    ("search", "-p", "p.yaml"), ("search", "--text", "\udcff", "-p", "p.yaml"),
    ("search", "--text", "", "-p", "p.yaml"),
    ("search", "--text", "a", "--model", "fifo", "-p", "p.yaml"),
    ("search", "--text", "a", "--backend", "x", "-p", "p.yaml"),
    ("search", "--text", "a", "--ranking", "x", "-p", "p.yaml"), ("plan", "--engine", "x", "-p", "p.yaml"),
    ("adapt", "smell", "--out", "x", "-p", "p.yaml"), ("adapt", "text", "--out", "m.jsonl", "-p", "p.yaml"),
    ("rejects", "export", "--out", "x.txt", "-p", "p.yaml"),
    ("rejects", "show", "\udcff", "-p", "p.yaml"), ("rejects",),
    ("no-such-verb",), ("plan", "--no-such-option"), ("explain",), ("plan", "x"), ("demo", "--records", "1"), (),
    *(("demo", "--language", language) for language in ("", "xx", "x" * LONG, "\udcff")),
]  # fmt: skip


@pytest.mark.parametrize("every", [3, pytest.param(1, marks=pytest.mark.full)])
@pytest.mark.parametrize("verb", sorted({case[0] for case in CASES if case} | {""}))
def test_a_bad_argument_is_a_message_with_advice(verb: str, every: int, place: Path) -> None:
    for case in [case for case in CASES if (case[0] if case else "") == verb][::every]:
        done = trichord(*case, check=None, cwd=place)
        shown = [argument[:80] for argument in case]
        assert done.returncode in (2, 6, 7), (shown, done.returncode, done.stderr[-500:], done.stdout[-300:])
        assert len(done.stderr.splitlines()) <= 1, (shown, done.stderr[:500])
        assert len(done.stderr) < 3_000, (shown, "a message, not a copy of the argument")
        assert "Traceback" not in done.stderr + done.stdout
        assert done.stderr or "Usage" in done.stdout, shown


@pytest.mark.parametrize(
    ("redirection", "code", "says"),
    [
        ("> /dev/full", 6, "could not be written to stdout"),
        (">&- 2>&-", 0, ""),
    ],
)
def test_an_output_that_cannot_be_written(redirection: str, code: int, says: str, place: Path) -> None:
    command = f"{' '.join(COMMAND)} schema {redirection}"
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, timeout=120, cwd=place,
        env={**os.environ, "PYTHONIOENCODING": "ascii"}, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    assert says in done.stderr
    assert (done.stderr == "") == (says == "")
    assert "Exception ignored" not in done.stderr


@pytest.mark.parametrize("arguments", [("--help",), ("plan", "-p", "p.yaml")])
def test_nothing_is_said_when_the_reader_of_stdout_has_gone(arguments: tuple[str, ...], place: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as closed:
        done = subprocess.run(
            [*COMMAND, *arguments],
            stdout=closed,
            stderr=subprocess.PIPE,
            text=True,
            timeout=120,
            cwd=place,
            check=False,
        )
    assert (done.returncode, done.stderr) == (141, "")


def test_a_stderr_that_nobody_reads_changes_no_exit_code(place: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([*COMMAND, "plan", "-p", "no"], stdout=subprocess.PIPE, stderr=write, cwd=place, check=False)
    assert done.returncode == 2
    os.close(write)


def test_a_poor_environment_is_no_reason_to_fail(place: Path) -> None:
    bare = {"PATH": os.environ["PATH"], "PYTHONPATH": os.environ.get("PYTHONPATH", ""), "LC_ALL": "C", "COLUMNS": "1"}
    done = subprocess.run(
        [*COMMAND, "plan", "-p", "p.yaml"], capture_output=True, timeout=120, cwd=place, env=bare, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_folder_that_was_deleted_is_named(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    command = f"cd {gone} && rmdir {gone} && {' '.join(COMMAND)} plan"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2, done.stderr
    assert "does not exist any more" in done.stderr


def test_an_unforeseen_error_is_a_message_and_its_traceback_a_file(
    place: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from trichord.pipelines.ops import start

    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("https://user:s3cr3t@host/ \x1b")

    monkeypatch.setattr(start, "start", fail)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    done = trichord("init", check=1, cwd=place)
    (details,) = tmp_path.glob("trichord-error-*.txt")
    assert str(details) in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "ZeroDivisionError" in details.read_text()
    assert "s3cr3t" not in done.stderr + details.read_text()
