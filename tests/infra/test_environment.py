"""`${NAME}` in the project file: one scalar, typed as it reads, never structure, and never repeated by a message."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.infra.test_project import SOURCES, problems_of, write
from trichord.infra.config import FolderSource
from trichord.infra.project import load_project, project_digest
from trichord.infra.strict_yaml import parse

ENVIRONMENT = {"N": "3", "YES": "true", "EMPTY": "", "NAME": "clips", "TREE": "{a: 1}\nb: [2, 3]", "HALF": "\udcff"}


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("${N}", 3),
        ("${N:-2}", 3),
        ("${UNSET:-2}", 2),
        ("${UNSET:-2.5}", 2.5),
        ("1${N}", 13),
        ("${YES}", True),
        ("${UNSET:-no}", "no"),
        ("${EMPTY}", None),
        ("${EMPTY:-2}", 2),
        ("${UNSET:-}", None),
        ("${UNSET:-a:-b}", "a:-b"),
        ("${UNSET:-null}", None),
        ("'${N}'", "3"),
        ('"${N}"', "3"),
        ("!!str ${N}", "3"),
        ("!!int ${N}", 3),
        ("|\n  ${N}", "3"),
        ("a/${NAME}/${N}", "a/clips/3"),
        ("$${N}", "${N}"),
        ("$$${N}", "$${N}"),
        ("$${a} ${N}", "${a} 3"),
        ("$N $ {N}", "$N $ {N}"),
        ("${TREE}", "{a: 1}\nb: [2, 3]"),
    ],
)
def test_a_reference_is_replaced_within_its_scalar_which_is_then_read_as_it_stands(written: str, value: object) -> None:
    document = parse(f"a: {written}".encode(), ENVIRONMENT)

    assert document.problems == ()
    assert document.value == {"a": value}
    assert type(document.value["a"]) is type(value)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_what_a_variable_holds_is_never_structure(content: str) -> None:
    document = parse(b"a: ${X}\nb: '${X}'\nc: 1\n", {"X": content})

    assert list(document.value) == ["a", "b", "c"]
    assert not isinstance(document.value["a"], dict | list)
    assert document.value["b"] == content


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("${UNSET}", "the environment variable UNSET is not set"),
        ("'x ${UNSET} y'", "the environment variable UNSET is not set"),
        ("${N", "${N is not ${NAME} or ${NAME:-default}"),
        ("${}", "${} is not ${NAME}"),
        ("${1N}", "${1N} is not ${NAME}"),
        ("${N-2}", "${N-2} is not ${NAME}"),
        ("${UNSET:-${N}}", "is not ${NAME}"),
        ("${HALF}", "the environment variable HALF is not UTF-8"),
        ("[${N}, 4]", "quote a ${NAME} inside [ ] or { }"),
    ],
)
def test_a_reference_that_cannot_be_replaced_names_its_line(written: str, problem: str) -> None:
    document = parse(f"ok: 1\na: {written}\n".encode(), ENVIRONMENT)

    (found,) = document.problems
    assert found.line == 2
    assert problem in found.text


def test_keys_and_texts_without_an_environment_stay_as_they_are() -> None:
    assert parse(b"${N}: 1", ENVIRONMENT).value == {"${N}": 1}
    assert parse(b"a: ${N}").value == {"a": "${N}"}


def test_a_project_takes_settings_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRICHORD_TEST_DATA", "clips")
    monkeypatch.setenv("TRICHORD_TEST_EPOCHS", "7")
    monkeypatch.delenv("TRICHORD_TEST_UNSET", raising=False)
    text = """lake: ${TRICHORD_TEST_UNSET:-lake}
sources:
  - {kind: folder, name: clips, path: "data/${TRICHORD_TEST_DATA}"}
train:
  epochs: ${TRICHORD_TEST_EPOCHS}
"""
    path = write(tmp_path, text)

    project = load_project(path, ["engine.workers=${TRICHORD_TEST_EPOCHS}"])

    (source,) = project.sources
    assert isinstance(source, FolderSource)
    assert source.path == str(tmp_path / "data" / "clips")
    assert project.lake == str(tmp_path / "lake")
    assert (project.train.epochs, project.engine.workers) == (7, 7)
    (tmp_path / "plain").mkdir()
    plain = write(tmp_path / "plain", SOURCES + "train: {epochs: 7}\n")
    assert project_digest(project) == project_digest(load_project(plain)), "only the value that results counts"


def test_an_unset_variable_names_file_line_and_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRICHORD_TEST_UNSET", raising=False)
    path = write(tmp_path, SOURCES + "lake:\n  ${TRICHORD_TEST_UNSET}\ntrain:\n  epochs: ${TRICHORD_TEST_UNSET}\n")

    told = problems_of(path)

    what = "the environment variable TRICHORD_TEST_UNSET is not set"
    assert [line.split(";")[0] for line in told] == [f"FILE:4: lake: {what}", f"FILE:6: train.epochs: {what}"]
    assert load_project(path, ["lake=here", "train.epochs=2"]).train.epochs == 2, "what is replaced need not be set"
    (told_of,) = problems_of(path, "lake=${TRICHORD_TEST_UNSET}", "train.epochs=1")
    assert told_of.startswith("--set lake=${TRICHORD_TEST_UNSET}: lake: " + what)


SECRET = "hunter2/pass'word"


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        ("engine:\n  workers: ${S}\n", "expected an integer of at least 1, given text from ${S}"),
        ("index:\n  kind: ${S}\n", "given text from ${S}"),
        ("train:\n  epochs: ${DIGITS}\n", "${DIGITS} is not a finite number"),
        ("train:\n  seed: ${NUMBER}\n  test: ${NUMBER}\n", "given a number from ${NUMBER}"),
        ("train: ${S}\n", "given text from ${S}"),
        ("engine: ['${S}']\n", 'given ["${S}"]'),
        ("lake: ftp://${S}\n", 'given "ftp://${S}"'),
        ("sources:\n  - kind: ${S}\n    name: a\n    path: b\n", "given text from ${S}"),
        ("web:\n  allow_private:\n    - ${S}\n", '"${S}" does not appear to be an IPv4 or IPv6 network'),
        ("rag:\n  endpoint:\n    url: ${S}\n", "given text from ${S}"),
        ("query:\n  weights:\n    text: ${S}\n", "given text from ${S}"),
        ("train:\n  workers: ${FEW}\n", "${FEW} is more than the 2 of engine.workers"),
    ],
)
def test_no_message_repeats_what_a_variable_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str, problem: str
) -> None:
    monkeypatch.setenv("S", SECRET)
    monkeypatch.setenv("DIGITS", "9" * 50)
    monkeypatch.setenv("NUMBER", "4711")
    monkeypatch.setenv("FEW", "47")
    sources = "" if setting.startswith("sources") else SOURCES

    told = "\n".join(problems_of(write(tmp_path, sources + setting)))

    assert problem in told
    assert not any(secret in told for secret in ("hunter2", "pass", "99999", "47"))


def test_a_default_is_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRICHORD_TEST_UNSET", raising=False)

    (told,) = problems_of(write(tmp_path, SOURCES + "index:\n  kind: ${TRICHORD_TEST_UNSET:-ivf-flat}\n"))

    assert told.endswith('given "ivf-flat"; did you mean `ivf_flat`?')
