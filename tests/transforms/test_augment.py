"""Variants: equal from any batch and order, with true words and times, and global state unchanged."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.transforms.samples import picture, tone
from trichord.infra import digest
from trichord.infra.config import AugmentConfig
from trichord.transforms.augment.chain import augment_chain
from trichord.transforms.augment.image import Flip
from trichord.transforms.augment.variants import copy_of, list_changes, record_key
from trichord.transforms.augment.words import says_side, swap_sides
from trichord.transforms.batch import Batch, Row, Segment, Waveform, join
from trichord.transforms.op import recipe_of, run_chain

TEXT = "A small dog sleeps beside the old wooden bench, and 2 birds are not far from it."
ALWAYS: dict[str, dict[str, Any]] = {
    "image": {name: {"p": 1.0} for name in ("rotate", "scale", "crop", "flip", "colour", "blur", "compression")},
    "text": {name: {"p": 1.0} for name in ("swap", "delete", "spelling", "keyboard", "ocr")},
    "audio": {
        name: {"p": 1.0} for name in ("speed", "pitch", "reverberation", "noise", "time_mask", "frequency_mask", "gain")
    },
}
NEVER = {medium: {name: {"p": 0.0} for name in steps} for medium, steps in ALWAYS.items()}


def config_of(copies: int = 2, **media: dict[str, Any]) -> AugmentConfig:
    """Settings under which only the steps given are taken."""
    merged = {medium: {**steps, **media.get(medium, {})} for medium, steps in NEVER.items()}
    return AugmentConfig.model_validate({"copies": copies, **merged})


def batch_of_rows(count: int = 4) -> Batch:
    rows = tuple(
        Row(
            key=f"r{i}",
            text=f"{TEXT} Number {i}.",
            captions=("Another wording of the very same scene.",),
            meta='{"a":1}',
        )
        for i in range(count)
    )
    return Batch(
        rows=rows,
        images=tuple(picture(96 + i, 80, seed=i) for i in range(count)),
        waves=tuple(Waveform(tone(1.0 + 0.1 * i, 16_000), 16_000) for i in range(count)),
    )


def variants(batch: Batch, config: AugmentConfig) -> Batch:
    after, counts = run_chain(batch, augment_chain(config))
    assert after.rejects == ()
    added = counts["augment:variants"].fan_out
    assert added == len(batch) * config.copies
    assert len(after) == len(batch) + added
    return after.select([copy_of(row) is not None for row in after.rows])


def prints(batch: Batch) -> dict[str, str]:
    """A digest of all of each row, by key."""
    return {
        row.key: digest.address(
            repr(row),
            None if image is None else digest.sha256_hex(image.tobytes()),
            None if wave is None else digest.sha256_hex(wave.samples.tobytes()),
        )
        for row, image, wave in zip(batch.rows, batch.images, batch.waves, strict=True)
    }


def test_a_variant_depends_on_its_record_alone() -> None:
    config = AugmentConfig.model_validate({"copies": 3, **ALWAYS})
    batch = batch_of_rows()
    whole = prints(variants(batch, config))
    assert prints(variants(batch, config)) == whole
    turned = join([batch.slice(i, i + 1) for i in reversed(range(len(batch)))])
    assert prints(variants(turned, config)) == whole
    for i in range(len(batch)):
        alone = prints(variants(batch.slice(i, i + 1), config))
        assert alone == {key: value for key, value in whole.items() if key in alone}
    assert len(set(whole.values())) == 3 * len(batch)
    assert {record_key(key) for key in whole} == {row.key for row in batch.rows}
    assert record_key("a#segment1") == "a#segment1"
    assert prints(variants(batch, config.model_copy(update={"seed": 1}))) != whole


def test_global_generators_are_left_as_they_were() -> None:
    def states() -> tuple[Any, ...]:
        return random.getstate(), repr(np.random.get_state()), torch.get_rng_state().tolist()  # noqa: NPY002 - read only

    config = AugmentConfig.model_validate({"copies": 1, **ALWAYS})
    variants(batch_of_rows(1), config)
    before = states()
    variants(batch_of_rows(2), config)
    assert states() == before


def test_the_records_themselves_are_never_changed() -> None:
    batch = batch_of_rows()
    pixels = [image.copy() for image in batch.images if image is not None]
    sounds = [wave.samples.copy() for wave in batch.waves if wave is not None]
    after, _ = run_chain(batch, augment_chain(AugmentConfig.model_validate({"copies": 2, **ALWAYS})))
    assert after.rows[: len(batch)] == batch.rows
    for i, (image, samples) in enumerate(zip(pixels, sounds, strict=True)):
        assert np.array_equal(after.images[i], image)  # type: ignore[arg-type]
        assert np.array_equal(after.waves[i].samples, samples)  # type: ignore[union-attr]


def test_what_was_drawn_is_recorded_in_order() -> None:
    made = variants(batch_of_rows(1), AugmentConfig.model_validate({"copies": 1, **ALWAYS}))
    names = [json.loads(story)["op"] for story in list_changes(made.rows[0])]
    assert names[:6] == [f"image_{name}" for name in ("rotate", "scale", "crop", "flip", "colour", "blur")]
    assert set(names) >= {"text_swap", "text_keyboard", "audio_speed", "audio_noise"}
    assert made.rows[0].meta == '{"a":1}'


@pytest.mark.parametrize("name", list(ALWAYS["image"]))
def test_every_picture_step_changes_the_picture_and_keeps_its_size(name: str) -> None:
    batch = batch_of_rows(2)
    made = variants(batch, config_of(2, image={name: {"p": 1.0}}))
    for row, image in zip(made.rows, made.images, strict=True):
        original = batch.images[int(row.parent[1:])]
        assert image is not None
        assert original is not None
        assert image.shape == original.shape
        assert image.dtype == np.uint8
        assert not np.array_equal(image, original)
        assert [json.loads(story)["op"] for story in list_changes(row)] == [f"image_{name}"]


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (8, 200)])
def test_tiny_and_narrow_pictures_are_not_errors(size: tuple[int, int]) -> None:
    image = np.zeros((*size, 3), np.uint8)
    batch = Batch(rows=(Row(key="a"),), images=(image,))
    assert [made.shape for made in variants(batch, config_of(3, **ALWAYS)).images if made is not None] == [
        (*size, 3)
    ] * 3


SIDED = ["a cat on the left", "Right-hand lane", "the rightmost box", "LEFT", "ein Haus links", "el perro a la derecha"]


@pytest.mark.parametrize("text", SIDED)
@pytest.mark.parametrize("where", ["text", "captions", "segments"])
def test_a_picture_whose_words_say_a_side_is_not_mirrored(text: str, where: str) -> None:
    ways: dict[str, dict[str, Any]] = {
        "text": {"text": text},
        "captions": {"text": "a cat", "captions": ("a cat", text)},
        "segments": {"text": "a cat", "segments": (Segment(start_s=0, end_s=1, text=text),)},
    }
    batch = Batch(rows=(Row(key="a", **ways[where]),), images=(picture(),))
    made = variants(batch, config_of(3, image={"flip": {"p": 1.0}}))
    assert all(image is batch.images[0] for image in made.images)
    assert [list_changes(row) for row in made.rows] == [[]] * 3


def test_a_mirrored_picture_may_swap_its_sides_in_words() -> None:
    config = config_of(1, image={"flip": {"p": 1.0}, "mirror_text": "swap"})
    rows = (
        Row(key="a", text="Left of a bright tree, RIGHT", captions=("the leftmost one",)),
        Row(key="b", text="a tree"),
        Row(key="c", text="ein Haus links"),
        Row(key="d", text="said left"),
    )
    waves = (None, None, None, Waveform(tone(0.2, 16_000), 16_000))
    batch = Batch(rows=rows, images=(picture(),) * 4, waves=waves)
    made = variants(batch, config)
    mirrored = [np.array_equal(image, picture()[:, ::-1]) for image in made.images if image is not None]
    assert mirrored == [True, True, False, False]
    assert made.rows[0].text == "Right of a bright tree, LEFT"
    assert made.rows[0].captions == ("the rightmost one",)
    assert [row.text for row in made.rows[1:]] == [row.text for row in rows[1:]]


@given(text=st.text(alphabet="lefightrLEFIGHTR bo-", max_size=40) | st.sampled_from(SIDED))
def test_swapping_sides_twice_gives_the_text_again(text: str) -> None:
    assert swap_sides(swap_sides(text)) == text
    assert says_side(swap_sides(text)) == says_side(text)
    assert not says_side("a bright cleft copyright lefse")


@settings(max_examples=25)
@given(keep=st.floats(0.5, 1.0), key=st.integers(0, 99))
def test_the_box_of_a_region_keeps_its_share_through_scale_and_crop(keep: float, key: int) -> None:
    config = config_of(
        2,
        image={"scale": {"p": 1.0, "max_factor": 1.3}, "crop": {"p": 1.0, "min_keep": 0.3}, "min_box_keep": keep},
    )
    batch = Batch(rows=(Row(key=f"k{key}", box=(0, 0, 40, 30)),), images=(picture(40, 30),))
    for row in variants(batch, config).rows:
        kept = [json.loads(story)["keep"] for story in list_changes(row)]
        assert np.prod(kept) >= keep - 1e-9
    free = Batch(rows=(Row(key="free"),), images=(picture(40, 30),))
    assert (
        min(
            json.loads(list_changes(row)[-1])["keep"]
            for row in variants(free, config_of(9, image={"crop": {"p": 1.0}})).rows
        )
        < 0.9
    )


def test_a_named_colour_keeps_its_hue() -> None:
    config = config_of(3, image={"colour": {"p": 1.0, "hue": 0.5}})
    rows: Sequence[Row] = (Row(key="a", text="a red ball"), Row(key="b", text="a ball"))
    made = variants(Batch(rows=tuple(rows), images=(picture(),) * 2), config)
    hues = {row.key: json.loads(list_changes(row)[0])["hue"] for row in made.rows}
    assert [hues[f"a#aug{i}"] for i in (1, 2, 3)] == [0.0] * 3
    assert all(hues[f"b#aug{i}"] != 0 for i in (1, 2, 3))


def test_settings_that_make_no_sense_are_refused() -> None:
    for wrong in (
        {"image": {"scale": {"min_factor": 1.2, "max_factor": 1.1}}},
        {"audio": {"noise": {"min_snr_db": 30, "max_snr_db": 10}}},
        {"image": {"crop": {"p": 1.5}}},
        {"text": {"delete": {"max_share": 0}}},
        {"copies": -1},
        {"audio": {"speed": {"min_factor": 0.1}}},
    ):
        with pytest.raises(ValidationError):
            AugmentConfig.model_validate(wrong)


def test_the_recipe_holds_settings_versions_and_libraries() -> None:
    chain = augment_chain(AugmentConfig(copies=1))
    recipe = recipe_of(chain)
    digest.canonical_json(recipe)
    libraries = {op.name: op.libraries() for op in chain}
    assert {entry["op"]: entry["settings"].get("libraries", {}) for entry in recipe} == libraries
    assert libraries["augment:image_flip"]["albumentations"] == "2.0.8"
    assert libraries["augment:text_swap"]["nlpaug"] == "1.1.11"
    assert "torchaudio" in libraries["augment:audio_noise"]
    assert "augment:image_flip" not in {entry["op"] for entry in recipe_of(augment_chain(config_of()))}
    assert Flip(seed=0, p=1, mirror_text="skip").settings() != Flip(seed=0, p=1, mirror_text="swap").settings()
