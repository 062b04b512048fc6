"""Each planted defect is a clear case of its kind."""

from __future__ import annotations

import unicodedata
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest

from trichord.infra.digest import generator
from trichord.pipelines.demo.captions import write_captions
from trichord.pipelines.demo.foreign import foreign_to, write_foreign
from trichord.pipelines.demo.render import render
from trichord.pipelines.demo.scenes import Scene, draw_scene
from trichord.pipelines.demo.sonify import sonify
from trichord.pipelines.demo.spoil_media import spoil_picture, spoil_sound
from trichord.pipelines.demo.spoil_text import TEXT_DEFECTS, spoil_text

CASES = range(40)


def _scene(index: int) -> Scene:
    return draw_scene(generator("test", index, "scene"), 0.5)


def _text(index: int) -> str:
    return write_captions(_scene(index), generator("test", index, "captions"), 0.5)[0]


def _spoilt_text(index: int, kind: str) -> str:
    return spoil_text(_text(index), kind, generator("test", index, kind), _scene(index))


def _picture(index: int) -> np.ndarray:
    return render(_scene(index), generator("test", index, "picture"), 0.5)


def _spoilt_picture(index: int, kind: str) -> np.ndarray:
    return spoil_picture(_picture(index), kind, generator("test", index, kind))


def _sound(index: int) -> tuple[np.ndarray, int]:
    return sonify(_scene(index), generator("test", index, "sound"), 0.5)


def _spoilt_sound(index: int, kind: str) -> np.ndarray:
    return spoil_sound(*_sound(index), kind, generator("test", index, kind))


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.words = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.words += data


def _level_db(samples: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(np.square(samples, dtype=np.float64)) + 1e-20))


@pytest.mark.parametrize("kind", TEXT_DEFECTS)
def test_a_spoilt_text_is_another_and_always_the_same(kind: str) -> None:
    for index in CASES:
        spoilt = _spoilt_text(index, kind)
        assert spoilt == _spoilt_text(index, kind) != _text(index)


def test_html_without_its_markup_is_the_text() -> None:
    for index in CASES:
        page = _Page()
        page.feed(_spoilt_text(index, "html_markup"))
        assert {"p", "b", "a"} <= set(page.tags)
        assert " ".join(page.words.split()) == _text(index)


def test_direction_controls_are_all_that_is_added() -> None:
    for index in CASES:
        spoilt = _spoilt_text(index, "bidi_controls")
        added = [letter for letter in spoilt if unicodedata.category(letter) == "Cf"]
        assert len(added) >= 5
        assert "".join(letter for letter in spoilt if letter not in added) == _text(index)


def test_personal_data_of_four_kinds_occur_and_card_numbers_have_a_right_checksum() -> None:
    kinds = set()
    for index in range(80):
        text = _text(index)
        added = _spoilt_text(index, "pii").removeprefix(text).strip()
        kinds.add(added.split(" ")[0])
        if added.startswith("Paid"):
            digits = [int(letter) for letter in added if letter.isdigit()]
            assert len(digits) == 16
            assert (sum(digits[1::2]) + sum(2 * d - 9 * (d > 4) for d in digits[::2])) % 10 == 0
    assert kinds == {"Sent", "For", "Uploaded", "Paid"}


def test_foreign_texts_name_the_scene_in_every_language() -> None:
    assert foreign_to("en") == ("de", "fr", "es", "pt", "ru", "zh")
    texts = {write_foreign(_scene(0), generator("test", draw, "foreign")) for draw in range(60)}
    assert len(texts) == 12
    assert not {"{", "}"} & set("".join(texts))
    assert write_foreign(_scene(0), generator("test", 1, "f")) != write_foreign(_scene(1), generator("test", 1, "f"))


def test_repeated_texts_repeat_and_symbols_outnumber_letters() -> None:
    for index in CASES:
        words = _spoilt_text(index, "repeated_text").split(" ")
        assert len({" ".join(words[i : i + 5]) for i in range(len(words) - 4)}) < 0.4 * len(words)
        noisy = _spoilt_text(index, "symbol_noise").replace(" ", "")
        assert sum(letter.isalnum() for letter in noisy) < 0.5 * len(noisy)


def test_levels_of_spoilt_pictures() -> None:
    for index in CASES:
        assert _spoilt_picture(index, "image_blank").std(axis=(0, 1)).max() < 3
        assert 5 < _spoilt_picture(index, "image_dark").mean() < 12 < 20 < _picture(index).mean()
        assert np.mean(_spoilt_picture(index, "image_bright").max(axis=2) >= 239) > 0.97


def test_half_a_picture_is_blurred_and_the_rest_is_not() -> None:
    for index in CASES:
        before, after = (
            np.abs(cv2.Laplacian(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), cv2.CV_64F))
            for rgb in (_picture(index), _spoilt_picture(index, "image_partial_blur"))
        )
        # four strips from each side: the outermost of one side has lost its detail, the opposite one has not
        strips = [
            [float(np.array_split(np.rot90(detail, turn), 4)[0].mean()) for turn in range(4)]
            for detail in (before, after)
        ]
        left = np.divide(strips[1], strips[0])
        worst = int(np.argmin(left))
        assert left[worst] < 0.2
        assert left[(worst + 2) % 4] > 0.99


def test_a_frame_is_plain_and_the_picture_within_it_whole() -> None:
    for index in CASES:
        inner, framed = _picture(index), _spoilt_picture(index, "image_border")
        y, x = ((whole - part) // 2 for whole, part in zip(framed.shape[:2], inner.shape[:2], strict=True))
        assert max(y / inner.shape[0], x / inner.shape[1]) > 0.12
        assert np.array_equal(framed[y : y + inner.shape[0], x : x + inner.shape[1]], inner)
        outside = np.concatenate([framed[:y].reshape(-1, 3), framed[:, :x].reshape(-1, 3)])
        assert len(np.unique(outside, axis=0)) == 1


def test_levels_of_spoilt_sounds() -> None:
    for index in CASES:
        samples, rate = _sound(index)
        assert _level_db(_spoilt_sound(index, "audio_silent")) < -80
        offset = _spoilt_sound(index, "audio_dc")
        assert 0.07 < abs(offset.mean()) < 0.26
        assert np.abs(offset).max() < 0.95
        assert -33 < _level_db(_spoilt_sound(index, "audio_quiet")) - _level_db(samples) < -25
        padded = _spoilt_sound(index, "audio_padded")
        assert 2.4 < (len(padded) - len(samples)) / rate < 5
        assert max(_level_db(padded[:rate]), _level_db(padded[-rate:])) < -80


def test_hum_is_as_loud_as_the_sound_at_least() -> None:
    for index in CASES:
        samples, rate = _sound(index)
        power, clean = (
            np.abs(np.fft.rfft(x * np.hanning(len(x)))) ** 2 / np.sum(x * x)
            for x in (_spoilt_sound(index, "audio_hum"), samples)
        )
        hz = np.fft.rfftfreq(len(samples), 1 / rate)
        near = [np.abs(hz - mains) < 3 for mains in (50, 60)]
        assert max(power[at].sum() for at in near) > 100 * max(clean[at].sum() for at in near)
