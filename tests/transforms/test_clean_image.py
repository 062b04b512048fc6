"""Pictures: detectors against known answers, and verdicts that do not depend on the file's size."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tests.transforms.samples import picture, saved
from trichord.infra import digest
from trichord.infra.config import ImageConfig
from trichord.pipelines.demo.render import render
from trichord.pipelines.demo.scenes import draw_scene
from trichord.transforms.batch import Batch, Image, Row
from trichord.transforms.clean import exposure, image
from trichord.transforms.clean.image import image_ops
from trichord.transforms.clean.sharpness import edge_map, largest_rectangle
from trichord.transforms.media import decode_image, encode_image, shrink_image
from trichord.transforms.op import Threshold, run_chain

LEAST = ImageConfig().min_sharpness or 0.0
BLUR = 0.022  # σ over the longer side


def cleaned(rgb: Image, kind: str = "PNG", row: Row | None = None, **settings: Any) -> Batch:
    """One picture through the chain."""
    batch = Batch(rows=(row or Row(key="k"),), raw_images=(saved(rgb, kind),))
    return run_chain(batch, image_ops(ImageConfig(**settings)))[0]


def reason(rgb: Image, **settings: Any) -> str | None:
    after = cleaned(rgb, **settings)
    return after.rejects[0].reason if after.rejects else None


def blurred(rgb: Image, share: float = BLUR) -> Image:
    return np.asarray(cv2.GaussianBlur(rgb, (0, 0), share * max(rgb.shape[:2])), np.uint8)


def scene(index: int) -> Image:
    return np.asarray(render(draw_scene(digest.generator("scene", index), 0.5), digest.generator("view", index), 0.5))


def sharpness(rgb: Image) -> float:
    return edge_map(exposure.grey_of(shrink_image(rgb, 256)), 8).whole


def of_scale(rgb: Image, scale: float, how: int) -> Image:
    """The picture as a JPEG file of another size."""
    size = (round(rgb.shape[1] * scale), round(rgb.shape[0] * scale))
    file = encode_image(np.asarray(cv2.resize(rgb, size, interpolation=how), np.uint8), 90)
    return decode_image(file, max_pixels=1 << 26, max_bytes=1 << 26)


def verdicts(rgb: Image) -> list[bool]:
    """Whether a picture counts as sharp: as it is, and at half and double size."""
    changes = ((0.5, cv2.INTER_AREA), (2.0, cv2.INTER_CUBIC))
    return [sharpness(view) >= LEAST for view in (rgb, *(of_scale(rgb, scale, how) for scale, how in changes))]


def flips(pictures: Iterable[Image]) -> tuple[int, int, int]:
    """Verdicts that another size changed, wrong verdicts at size 1, all verdicts: each picture sharp and blurred."""
    turned = wrong = total = 0
    for rgb in pictures:
        for is_sharp, view in ((True, rgb), (False, blurred(rgb))):
            here, *elsewhere = verdicts(view)
            turned += sum(verdict != here for verdict in elsewhere)
            wrong += here != is_sharp
            total += len(elsewhere)
    return turned, wrong, total


def test_sharpness_is_the_number_of_edge_widths_along_the_longer_side() -> None:
    step = np.full((200, 256, 3), 60, np.uint8)
    step[:, 128:] = 190
    for share in (0.015, 0.02, 0.03):
        assert sharpness(blurred(step, share)) == pytest.approx(1 / share, rel=0.15)
        faint = (blurred(step, share) // 2 + 90).astype(np.uint8)
        assert sharpness(faint) == pytest.approx(1 / share, rel=0.3)  # rounded to whole grey levels


def test_a_verdict_on_sharpness_holds_at_half_and_double_size_of_the_file() -> None:
    turned, wrong, total = flips(scene(i) for i in range(60))
    assert turned <= 0.01 * total
    assert wrong <= 0.01 * total


@pytest.mark.sample
def test_a_verdict_on_sharpness_of_real_pictures_holds_at_half_and_double_size() -> None:
    def pictures() -> Iterator[Image]:
        for path in sorted(Path(os.environ.get("TRICHORD_SAMPLE", "")).rglob("*.jpg"))[::3]:
            yield decode_image(path.read_bytes(), max_pixels=1 << 26, max_bytes=1 << 26)

    turned, wrong, total = flips(pictures())
    assert total > 300
    assert turned <= 0.01 * total
    assert wrong == 0


def test_planted_blur_is_found_and_nothing_else() -> None:
    sharp = [scene(i) for i in range(100)]
    refused = [reason(rgb) for rgb in sharp]
    assert refused == [None] * len(sharp)
    found = [reason(blurred(rgb)) for rgb in sharp]
    assert found.count("image_blurred") >= 0.95 * len(found)


def half_blurred(index: int, share: float = 0.03) -> Image:
    """Texture all over, its right half blurred."""
    rng = digest.generator("texture", index)
    rgb = np.asarray(cv2.resize(rng.integers(0, 256, (48, 64, 3)).astype(np.uint8), (256, 192)), np.uint8)
    rgb = np.where(rgb > 127, 200, 50).astype(np.uint8)
    return np.concatenate((rgb[:, :128], blurred(rgb, share)[:, 128:]), axis=1)


def test_blurred_tiles_are_mapped_and_flat_ones_are_not_blurred() -> None:
    after = cleaned(half_blurred(0))
    name, tiles = dict(after.rows[0].labels)["image_blur_map"].split(":")
    assert name == "8x8"
    grid = np.array(list(tiles)).reshape(8, 8)
    assert (grid[:, :4] == "0").all()
    assert (grid[:, 5:] == "1").all()
    assert after.scores[0]["image_blurred_share"] == pytest.approx(0.5, abs=0.13)
    sky = picture(256, 192)
    sky[:96] = np.linspace(120, 180, 96)[:, None, None]
    edges = edge_map(exposure.grey_of(sky), 8)
    assert not edges.blurred(LEAST)[:3].any()
    assert cleaned(picture(256, 192)).rows[0].labels == ()


def test_a_partly_blurred_picture_is_kept_cropped_or_refused_by_policy() -> None:
    rgb = half_blurred(1)
    assert cleaned(rgb).images[0] is not None
    assert reason(rgb, partial_blur="reject") == "image_partly_blurred"
    after = cleaned(rgb, partial_blur="crop")
    (change,) = after.rows[0].changes
    assert (change.op, change.field, change.before) == ("image_sharp_region", "image", "0,0,256,192")
    left, top, width, height = map(int, change.after.split(","))
    assert (left, top, height) == (0, 0, 192)
    assert 96 <= width <= 160  # within a tile of the seam
    cut = after.images[0]
    assert cut is not None
    assert np.array_equal(cut, rgb[:, :width])
    assert after.scores[0]["image_blurred_share"] < 0.15  # of what is left at the seam
    assert reason(rgb, partial_blur="crop", min_sharp_share=0.7) == "image_partly_blurred"
    assert cleaned(picture(256, 192), partial_blur="crop").rows[0].changes == ()


@given(wanted=arrays.arrays(np.bool_, st.tuples(st.integers(1, 6), st.integers(1, 6))))
def test_the_largest_rectangle_is_the_largest(wanted: np.ndarray) -> None:
    rows, columns = wanted.shape
    areas = [
        (bottom - top) * (right - left)
        for top in range(rows)
        for bottom in range(top + 1, rows + 1)
        for left in range(columns)
        for right in range(left + 1, columns + 1)
        if wanted[top:bottom, left:right].all()
    ]
    top, left, bottom, right = largest_rectangle(wanted)
    assert (bottom - top) * (right - left) == max(areas, default=0)
    assert wanted[top:bottom, left:right].all()


@pytest.mark.parametrize("sigma", [0.0, 3.0, 8.0, 15.0, 25.0])
@pytest.mark.parametrize("index", range(3))
def test_noise_is_the_standard_deviation_of_what_was_added(sigma: float, index: int) -> None:
    rgb = np.full((240, 320, 3), 60, np.uint8)
    cv2.circle(rgb, (160, 120), 70 + 10 * index, (180, 180, 180), -1)
    rgb[:, :, :] = np.asarray(cv2.GaussianBlur(rgb, (0, 0), 1.5))
    noise = digest.generator("noise", index).standard_normal((240, 320, 1)) * sigma
    found = exposure.noise(np.clip(np.rint(rgb + noise), 0, 255).astype(np.uint8))
    assert found == pytest.approx(sigma, rel=0.1, abs=0.3)


def test_noisy_pictures_are_rejected_if_there_is_a_limit() -> None:
    rgb = scene(0)
    noise = digest.generator("noise").standard_normal(rgb.shape) * 45
    noisy = np.clip(np.rint(rgb + noise), 0, 255).astype(np.uint8)
    assert reason(noisy) is None
    assert reason(noisy, max_noise=15) == "image_noisy"
    assert reason(rgb, max_noise=15) is None


def test_exposure_and_contrast_are_those_of_the_grey_levels() -> None:
    grey = digest.generator("grey").integers(0, 256, (100, 90)).astype(np.uint8)
    found = exposure.exposure(grey)
    assert found["image_contrast"] == pytest.approx(float(grey.std()), rel=1e-9)
    assert found["image_dark"] == pytest.approx(float((grey <= 16).mean()))
    assert found["image_bright"] == pytest.approx(float((grey >= 239).mean()))


def test_blank_dark_and_bright_pictures_are_rejected_if_there_are_limits() -> None:
    assert reason(np.full((64, 64, 3), 128, np.uint8)) == "image_blank"
    rgb = picture(160, 120)
    dark, bright = (rgb // 14).astype(np.uint8), (255 - rgb // 14).astype(np.uint8)
    assert (reason(dark), reason(bright)) == (None, None)
    assert (reason(dark, max_dark=0.9), reason(bright, max_bright=0.9)) == ("image_dark", "image_bright")


@pytest.mark.parametrize("bars", [(0, 0, 0, 0), (30, 30, 0, 0), (0, 0, 24, 0), (10, 20, 30, 40)])
@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_frame_is_found_and_by_policy_cut_off_or_refused(bars: tuple[int, int, int, int], level: int) -> None:
    top, bottom, left, right = bars
    inside = picture(150, 110)
    rgb = np.asarray(cv2.copyMakeBorder(inside, *bars, cv2.BORDER_CONSTANT, value=(level,) * 3), np.uint8)
    height, width = rgb.shape[:2]
    assert exposure.frame(exposure.grey_of(rgb)) == (top, left, height - bottom, width - right)
    share = 1 - inside[:, :, 0].size / rgb[:, :, 0].size
    after = cleaned(rgb)
    assert after.scores[0]["image_border"] == pytest.approx(share)
    assert reason(rgb, borders="reject") == ("image_border" if share else None)
    cropped = cleaned(rgb, borders="crop")
    assert np.array_equal(np.asarray(cropped.images[0]), inside)
    assert [change.after for change in cropped.rows[0].changes] == ([f"{left},{top},150,110"] if share else [])


def test_a_uniform_picture_has_no_frame() -> None:
    assert exposure.frame(np.full((40, 30), 7, np.uint8)) == (0, 0, 40, 30)


def test_blurred_small_and_narrow_pictures_are_refused_and_good_ones_kept() -> None:
    assert reason(picture(320, 240)) is None
    assert reason(picture(96, 72)) is None
    assert reason(picture(31, 200)) == "image_too_small"
    assert reason(picture(32 * 7, 32)) == "image_aspect"
    assert reason(blurred(picture(320, 240), 0.04)) == "image_blurred"
    scores = cleaned(picture(640, 160)).scores[0]
    assert scores["image_min_side"] == 160
    assert scores["image_aspect"] == 4


def test_a_box_is_cut_out_of_the_upright_picture_and_measured_as_it_came() -> None:
    rgb = picture(200, 150)
    after = cleaned(rgb, row=Row(key="k", box=(20.0, 10.0, 90.0, 60.0)))
    assert np.array_equal(np.asarray(after.images[0]), rgb[10:70, 20:110])
    assert (after.scores[0]["image_min_side"], after.rows[0].changes) == (60, ())
    clipped = cleaned(rgb, row=Row(key="k", box=(150.0, -20.0, 100.0, 100.0)))
    assert np.array_equal(np.asarray(clipped.images[0]), rgb[:80, 150:])
    (change,) = clipped.rows[0].changes
    assert (change.field, change.before, change.after) == ("box", "150,-20,100,100", "150,0,50,80")


@pytest.mark.parametrize(
    "box", [(200.0, 0.0, 10.0, 10.0), (-30.0, 0.0, 30.0, 9.0), (5.0, 5.0, 0.0, 9.0), (np.nan, 0, 9, 9)]
)
def test_a_box_outside_the_picture_is_refused(box: tuple[float, float, float, float]) -> None:
    after = cleaned(picture(200, 150), row=Row(key="k", box=box))
    assert [reject.reason for reject in after.rejects] == ["region_outside"]


def test_rows_of_one_raw_picture_share_its_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = []

    def counting(data: bytes, **limits: Any) -> Image:
        decoded.append(data)
        return decode_image(data, **limits)

    monkeypatch.setattr(image, "decode_image", counting)
    one, other = saved(picture(200, 150), "PNG"), saved(picture(200, 150, 1), "PNG")
    rows = [Row(key=str(i), box=(10.0 * i, 0.0, 100.0, 100.0)) for i in range(4)]
    raws = (one, other, one, None)
    after, _ = run_chain(Batch(rows=tuple(rows), raw_images=raws), image_ops(ImageConfig()))
    assert decoded == [one, other]
    for i, raw in enumerate(raws):
        alone, _ = run_chain(Batch(rows=(rows[i],), raw_images=(raw,)), image_ops(ImageConfig()))
        assert (alone.rows[0], alone.scores[0]) == (after.rows[i], after.scores[i])
        assert np.array_equal(np.asarray(alone.images[0]), np.asarray(after.images[i]))
    broken, _ = run_chain(Batch(rows=tuple(rows[:2]), raw_images=(one[:99], one)), image_ops(ImageConfig()))
    assert (len(broken.rows), len(broken.rejects)) == (1, 1)


def test_rows_without_a_picture_pass_unmeasured() -> None:
    batch = Batch(rows=(Row(key="k", text="words"),))
    every = ImageConfig(borders="crop", partial_blur="crop", max_noise=1, max_dark=0, max_bright=0)
    after, _ = run_chain(batch, image_ops(every))
    assert (after.rows, after.scores) == (batch.rows, ({},))


def test_a_threshold_without_a_value_is_left_out() -> None:
    ops = image_ops(ImageConfig(min_contrast=None, min_sharpness=None))
    assert {op.score for op in ops if isinstance(op, Threshold)} == {"image_min_side", "image_aspect"}
