"""Conservation in the chain: every row of every op is kept or rejected, and no row stops the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transforms.malformed import audios, images
from tests.transforms.samples import picture, saved, sound, tone
from trichord.infra import digest
from trichord.infra.config import PrepareConfig
from trichord.transforms.batch import Batch, Row, Waveform, join
from trichord.transforms.chain import prepare_chain
from trichord.transforms.op import ConservationError, Op, Threshold, recipe_of, run_chain
from trichord.transforms.record import record_recipe

CHAIN = prepare_chain(PrepareConfig())
IMAGES = [None, saved(picture(), "PNG"), saved(picture(20, 20), "PNG"), saved(picture(400, 40), "JPEG")] + [
    data for data, _ in images().values()
]
AUDIOS = [None, sound(tone(), rate_hz=16_000), sound(tone(0.05)), sound(tone(level=3), rate_hz=16_000)] + [
    data for data, _ in audios().values() if len(data) < 1 << 16
]
TEXTS = st.none() | st.text(max_size=30) | st.just("words " * 5_000)


@st.composite
def batches(draw: st.DrawFn) -> Batch:
    rows = draw(
        st.lists(
            st.tuples(
                TEXTS, st.lists(st.text(max_size=5), max_size=3), st.sampled_from(IMAGES), st.sampled_from(AUDIOS)
            ),
            max_size=6,
        )
    )
    return Batch(
        rows=tuple(
            Row(key=str(i), text=text, captions=tuple(captions)) for i, (text, captions, _, _) in enumerate(rows)
        ),
        raw_images=tuple(image for _, _, image, _ in rows),
        raw_audios=tuple(audio for _, _, _, audio in rows),
    )


@settings(max_examples=60, deadline=None)
@given(batch=batches())
def test_every_op_keeps_or_rejects_every_row(batch: Batch) -> None:
    after, counts = run_chain(batch, CHAIN)
    assert list(counts) == [op.name for op in CHAIN]
    rows = len(batch)
    for op in CHAIN:
        count = counts[op.name]
        assert count.rows_in == rows
        assert count.rows_in + count.fan_out == count.rows_kept + count.rows_rejected
        rows = count.rows_kept
        assert sum(reject.op == op.name for reject in after.rejects) == count.rows_rejected
    keys = [row.key for row in after.rows] + [reject.key for reject in after.rejects]
    assert sorted(keys) == sorted(row.key for row in batch.rows)
    gone = {reject.key for reject in after.rejects}
    assert [row.key for row in after.rows] == [row.key for row in batch.rows if row.key not in gone]


@settings(max_examples=25, deadline=None)
@given(batch=batches(), size=st.integers(1, 4))
def test_a_row_does_not_depend_on_its_neighbours(batch: Batch, size: int) -> None:
    whole, _ = run_chain(batch, CHAIN)
    parts = join(run_chain(batch.slice(at, at + size), CHAIN)[0] for at in range(0, len(batch), size))
    assert parts.rows == whole.rows
    assert parts.scores == whole.scores
    assert Counter(parts.rejects) == Counter(whole.rejects)
    for one, other in zip(parts.images, whole.images, strict=True):
        assert (one is None) == (other is None)
        assert one is None or other is None or np.array_equal(one, other)
    for mine, its in zip(parts.waves, whole.waves, strict=True):
        assert (mine is None) == (its is None)
        assert mine is None or its is None or np.array_equal(mine.samples, its.samples)


@dataclass(frozen=True, slots=True)
class Scripted(Op):
    """An op that does what a test says."""

    version: ClassVar[int] = 1
    does: Callable[[Batch], Batch]
    name: str = "scripted"

    def __call__(self, batch: Batch) -> Batch:
        return self.does(batch)


@dataclass(frozen=True, slots=True)
class Doubling(Op):
    version: ClassVar[int] = 1
    fan_out: ClassVar[bool] = True
    name: str = "doubling"

    def __call__(self, batch: Batch) -> Batch:
        return join((batch, Batch(rows=tuple(replace(row, key=f"{row.key}#1") for row in batch.rows))))


def rows(*keys: str) -> Batch:
    return Batch(rows=tuple(Row(key=key) for key in keys))


@pytest.mark.parametrize(
    "does",
    [
        lambda batch: batch.select([False] + [True] * (len(batch) - 1)),
        lambda batch: join((batch, batch.slice(0, 1))),
        lambda batch: join((batch, rows("new"))),
        lambda batch: replace(batch.reject({0: ("a", "b")}, "x"), rows=batch.rows, scores=batch.scores),
        lambda batch: replace(batch.reject({0: ("a", "b")}, "x"), rejects=()),
        lambda batch: replace(batch.reject({0: ("a", "b")}, "x"), rejects=batch.rejects[::-1]),
        lambda batch: rows("u", "v", "w"),
    ],
)
def test_an_op_that_loses_repeats_or_invents_rows_is_named(does: Callable[[Batch], Batch]) -> None:
    batch = replace(rows("a", "b", "c"), rejects=rows("x", "y").reject({0: ("r", "d"), 1: ("r", "d")}, "op").rejects)

    def broken(batch: Batch) -> Batch:
        return Batch(
            **{name: getattr(does(batch), name) for name in ("rows", "rejects")},
        )

    with pytest.raises(ConservationError, match="scripted"):
        run_chain(batch, [Scripted(broken)])


def test_rows_of_a_fan_out_op_are_counted() -> None:
    after, counts = run_chain(rows("a", "b"), [Doubling()])
    assert [row.key for row in after.rows] == ["a", "b", "a#1", "b#1"]
    assert counts["doubling"].fan_out == 2
    assert counts["doubling"].rows_in + 2 == counts["doubling"].rows_kept


@settings(max_examples=40, deadline=None)
@given(size=st.integers(1, 20), killers=st.sets(st.integers(0, 19)))
def test_rows_that_make_an_op_raise_are_rejected_and_no_others(size: int, killers: set[int]) -> None:
    bad = {str(i) for i in killers if i < size}

    def fails(batch: Batch) -> Batch:
        for row in batch.rows:
            if row.key in bad:
                raise ZeroDivisionError(f"row {row.key}")
        return batch.with_scores([{"seen": 1.0}] * len(batch))

    before = rows(*map(str, range(size)))
    after, counts = run_chain(before, [Scripted(fails)])
    assert [row.key for row in after.rows] == [row.key for row in before.rows if row.key not in bad]
    assert all(scores == {"seen": 1.0} for scores in after.scores)
    assert {reject.key for reject in after.rejects} == bad
    assert all(
        (r.op, r.reason, r.detail) == ("scripted", "op_error", f"ZeroDivisionError: row {r.key}") for r in after.rejects
    )
    assert counts["scripted"].rows_rejected == len(bad)


@pytest.mark.parametrize("error", [MemoryError, OSError, ImportError])
def test_an_error_that_is_not_a_rows_fault_is_raised(error: type[Exception]) -> None:
    def fails(batch: Batch) -> Batch:
        raise error("the machine")

    with pytest.raises(error):
        run_chain(rows("a", "b"), [Scripted(fails)])


def test_a_threshold_rejects_outside_its_bounds_and_nan_and_passes_rows_without_the_score() -> None:
    values = [None, 0.9, 1.0, 2.0, 2.1, float("nan")]
    batch = rows(*map(str, range(6))).with_scores([{} if value is None else {"s": value} for value in values])
    after = Threshold(score="s", reason="r", least=1.0, most=2.0)(batch)
    assert [row.key for row in after.rows] == ["0", "2", "3"]
    assert [(reject.key, reject.reason) for reject in after.rejects] == [("1", "r"), ("4", "r"), ("5", "r")]


# Settings of ops that are off shape nothing: all are on here. Those of sound have a test of their own.
ALL_ON: dict[str, dict[str, Any]] = {
    "text": {"spelling": True, "languages": ("en",), "pii": "mask"},
    "image": {"borders": "crop", "partial_blur": "crop"},
}
OTHER = {
    "languages": ("de",),
    "pii_regions": ("CN",),
    "pii": "reject",
    "phone_region": "DE",
    "borders": "reject",
    "partial_blur": "reject",
}


def test_a_recipe_is_json_that_changes_with_every_setting() -> None:
    assert record_recipe(PrepareConfig())[: len(CHAIN)] == recipe_of(CHAIN)
    recipes = {digest.address(record_recipe(PrepareConfig.model_validate(ALL_ON)))}
    settings_seen = 1
    for section, on in ALL_ON.items():
        for name, value in PrepareConfig.model_validate(ALL_ON).model_dump()[section].items():
            settings_seen += 1
            other = (
                OTHER[name]
                if name in OTHER
                else not value
                if isinstance(value, bool)
                else 0.5
                if value is None
                else value * 0.9
                if value < 1
                else value + 1
            )
            config = PrepareConfig.model_validate({**ALL_ON, section: {**on, name: other}})
            recipes.add(digest.address(record_recipe(config)))
    assert len(recipes) == settings_seen


def test_two_ops_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="two ops"):
        run_chain(rows("a"), [Doubling(), Doubling()])


def test_a_batch_refuses_columns_of_other_lengths() -> None:
    with pytest.raises(ValueError, match="images has 1 values for 2 rows"):
        Batch(rows=rows("a", "b").rows, images=(picture(),))
    with pytest.raises(ValueError, match="mask"):
        rows("a").select([True, False])
    with pytest.raises(ValueError, match="queries"):
        Batch.of()
    queries = Batch.of(texts=["one", None], waves=[None, Waveform(tone(), 16_000)])
    assert [row.text for row in queries.rows] == ["one", None]
    assert queries.images == (None, None)
