"""Plots show every value inside their frame, ticks are round and enclose the data, and labels are escaped."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from tests.pipelines.evaluation.test_retrieval import held_out_of
from trichord.pipelines.evaluation.galleries import FORMS
from trichord.pipelines.evaluation.retrieval import evaluate
from trichord.pipelines.report import measures, plots
from trichord.transforms.batch import Waveform

values = st.floats(-1e6, 1e6).filter(lambda value: value == 0 or abs(value) > 1e-6)


def numbers(svg: str, *names: str) -> list[float]:
    return [float(value) for name in names for value in re.findall(rf'\b{name}="(-?[\d.]+)"', svg)]


def inside(svg: Markup, size: tuple[int, int]) -> bool:
    width, height = size
    # a dot and a dashed limit may touch the frame, no more
    return all(-1 <= x <= width + 1 for x in numbers(svg, "x", "x1", "x2", "cx")) and all(
        -1 <= y <= height + 1 for y in numbers(svg, "y", "y1", "y2", "cy")
    )


@given(low=values, span=st.floats(0, 1e6))
def test_ticks_are_few_round_and_enclose_the_values(low: float, span: float) -> None:
    ticks = plots.round_ticks(low, low + span)
    step = ticks[1] - ticks[0]

    slack = 1e-6 * max(step, abs(low), 1e-9)
    assert ticks[0] <= low + slack
    assert ticks[-1] >= low + span - slack
    assert 2 <= len(ticks) <= 7
    assert float(f"{step:.6e}"[:8]) in (1, 2, 5)


@given(
    shares=st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=40),
    low=st.floats(-1, 0.9),
    span=st.floats(0, 2),
)
def test_two_distributions_stay_in_their_frame_and_stand_on_one_axis(
    shares: list[tuple[float, float]], low: float, span: float
) -> None:
    strangers, pairs = zip(*shares, strict=True)
    svg = plots.overlaid(low, low + span, strangers, pairs, "text-image")

    assert inside(svg, plots.HISTOGRAM_SIZE)
    bars = re.findall(r'<rect class="bin (strangers|pairs)" x="[\d.]+" y="([\d.]+)" [^>]*height="([\d.]+)"', svg)
    assert len(bars) == sum(share > 0 for pair in shares for share in pair)
    assert {round(float(y) + float(tall)) for _, y, tall in bars} <= {plots.HISTOGRAM_SIZE[1] - 22}


def test_ticks_of_known_ranges() -> None:
    assert plots.round_ticks(0.03, 0.57) == [0, 0.2, 0.4, 0.6]
    assert plots.round_ticks(1.4, 6.6) == [0, 2, 4, 6, 8]
    assert plots.round_ticks(3.0, 3.0) == [3, 4]


@given(points=st.lists(values, min_size=1, max_size=80))
def test_a_curve_stays_in_its_frame(points: list[float]) -> None:
    svg = plots.curve([(float(x), y) for x, y in enumerate(points)], "loss", best=len(points) - 1)

    assert inside(svg, plots.CURVE_SIZE)
    [line] = re.findall(r'<polyline class="curve" points="([^"]*)"', svg)
    placed = [tuple(map(float, point.split(","))) for point in line.split()]
    assert len(placed) == len(points)
    # higher values stand higher, as far as a tenth of a pixel tells
    for (_, y), (_, next_y), value, following in zip(placed, placed[1:], points, points[1:], strict=False):
        assert next_y <= y if following >= value else next_y >= y


@given(
    sample=st.lists(values, min_size=1, max_size=200),
    limits=st.lists(st.tuples(st.sampled_from(("at least", "at most")), values), max_size=2),
)
def test_a_histogram_holds_every_value_and_the_limits_that_are_near(
    sample: list[float], limits: list[tuple[str, float]]
) -> None:
    svg = plots.histogram([*sample, math.nan], "score", limits)

    assert inside(svg, plots.HISTOGRAM_SIZE)
    assert svg.count('class="bin"') >= 1
    drawn = svg.count('<line class="limit"')
    assert drawn <= len(limits)
    between = [limit for _, limit in limits if min(sample) <= limit <= max(sample) and min(sample) <= 0]
    assert drawn >= len(between)


def test_a_threshold_is_drawn_near_the_values_and_only_there() -> None:
    near = plots.histogram([21.0, 30.0, 44.0], "sharpness", [("at least", 20.0)])
    assert '<line class="limit"' in near
    assert "at least 20" in near
    assert '<line class="limit"' not in plots.histogram([21.0, 30.0], "chars", [("at most", 20_000.0)])
    one = plots.histogram([0.0] * 5, "clipping", [("at most", 0.02)])
    assert one.count('class="bin"') == 1
    assert "at most 0.02" in one


def test_a_waveform_reaches_full_scale_where_it_clips() -> None:
    silent = Waveform(samples=np.zeros(1_000, np.float32), rate_hz=16_000)
    square = Waveform(samples=np.resize([1.0, -1.0], 1_000).astype(np.float32), rate_hz=16_000)
    height = plots.WAVE_SIZE[1]
    columns = re.findall(r"M\d+ ([\d.]+)V([\d.]+)", plots.waveform(square))

    assert len(columns) == plots.WAVE_SIZE[0]
    assert {(float(top), float(bottom)) for top, bottom in columns} == {(0.0, height + 0.5)}
    assert f"M0 {height / 2}V{height / 2 + 0.5}" in plots.waveform(silent)
    tiny = Waveform(samples=np.ones(3, np.float32), rate_hz=16_000)
    assert plots.waveform(tiny).count("M") == 3


@given(total=st.integers(1, 10**9), before=st.integers(0, 10**9), rows=st.integers(0, 10**9))
def test_a_waterfall_bar_is_seen_and_stays_in_its_frame(total: int, before: int, rows: int) -> None:
    before, rows = min(before, total), min(rows, before, total)
    [[start, width]] = re.findall(
        r'class="reject" x="([\d.]+)" y="0" width="([\d.]+)"', plots.waterfall(before, rows, total, "reject")
    )

    assert float(width) >= (3 if rows else 0)
    assert float(start) + float(width) <= 1_000.2


@pytest.mark.parametrize("hostile", ['"><script>', "a & b"])
def test_labels_are_escaped(hostile: str) -> None:
    for svg in (
        plots.curve([(0, 1.0)], hostile),
        plots.histogram([1.0], hostile, [(hostile, 1.0)]),
        plots.bar(0.5, hostile),
    ):
        assert hostile not in svg
        assert str(Markup.escape(hostile)) in svg


def test_figures_are_short() -> None:
    told = {0: "0", 7: "7", 1234: "1,234", 0.123456: "0.123", 99.96: "100", 1234.5: "1,234", -3.0: "-3"}
    assert {value: plots.figure(value) for value in told} == told


def test_matrices_keep_the_evaluations_figures_in_the_order_of_the_modalities() -> None:
    measured = evaluate(held_out_of(3, 30, complete=True), 10, 0).to_dict()
    stored = {name: measured[name] for name in sorted(measured)}
    before, trained, after = measures.matrices({"before": stored, "after": stored}, measured)

    titles = (before.title, trained.title, after.title)
    assert titles == ("Before training, validation", "After training, validation", "Live model, test")
    assert [name for name, _ in after.rows] == ["text", "image", "audio"]
    assert after.galleries == ("text", "image", "audio", "fused")
    for query, cells in after.rows:
        for gallery, cell in zip(after.galleries, cells, strict=True):
            recall = measured["recall_at_10"][query][gallery]
            assert (cell.recall if cell else None) == recall
            assert cell is None or cell.over_chance == pytest.approx(recall / measured["chance"][query][gallery])
    assert [matrix.title for matrix in measures.matrices({}, measured)] == ["Live model, test"]
    assert [row.form for row in measures.mixed_rows(measured, {})] == [
        form for form in FORMS if form in measured["mixed"]["share"]
    ]
