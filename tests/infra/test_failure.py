"""A failure carries what an exception says and is, whatever the exception is made of."""

from __future__ import annotations

from tests.infra.engine_tasks import TwoArguments
from trichord.infra.engines.failure import Failure, partly_failed
from trichord.infra.errors import PartialRun


class NoText(Exception):
    """An exception whose text cannot be had."""

    def __str__(self) -> str:
        raise AttributeError("held by nobody")


def failure_of(error: Exception) -> Failure:
    """Return the failure of an error that was raised."""
    try:
        raise error
    except Exception as raised:  # noqa: BLE001 - as a worker does
        return Failure.of(raised)


def test_where_all_failed_it_is_the_first_ones_own_error_and_where_some_did_a_partial_run() -> None:
    failures = [("a", failure_of(TwoArguments("x", "y: z"))), ("b", failure_of(ValueError("two\nlines")))]
    own = partly_failed(failures, 5, 2, "shards could not be made")
    assert type(own) is TwoArguments
    assert str(own) == "x: y: z"
    some = partly_failed(failures, 5, 3, "shards could not be made")
    assert type(some) is PartialRun
    assert str(some).startswith("2 of 5 shards could not be made; the others are kept.\na: TwoArguments: x: y: z\n")
    assert "b: ValueError: two\nlines (test_failure.py, line " in str(some)
    assert "Traceback" not in str(some)


def test_an_exception_without_a_text_is_still_named() -> None:
    failure = failure_of(NoText())
    assert failure.error_type.endswith("test_failure.NoText")
    assert failure.message == "its text cannot be shown"
