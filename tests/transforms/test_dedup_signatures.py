"""Signatures: light changes move them little, other content moves them far, equal content not at all."""

from __future__ import annotations

import datasketch
import imagehash
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow

from tests.bench.variants import IMAGES, SOUNDS, VARIANTS, batch_of_record, changed
from trichord.infra.config import DedupConfig
from trichord.infra.digest import generator
from trichord.pipelines.demo.defects import rates_of
from trichord.pipelines.demo.records import Recipe
from trichord.transforms.batch import Batch, Waveform
from trichord.transforms.dedup.hamming import cells
from trichord.transforms.dedup.near import pack, pack_hashes
from trichord.transforms.dedup.same_sound import compare_sounds
from trichord.transforms.dedup.shingles import SKETCH, band_keys, normal_form, text_sketch
from trichord.transforms.dedup.signatures import signature_recipe
from trichord.transforms.dedup.spectrum import COARSE_BYTES, HASH_BYTES, audio_hash, image_hash
from trichord.transforms.media import decode_audio, decode_image, resample, shrink_image

CONFIG = DedupConfig()
RECORDS = 6


def media(batch: Batch) -> tuple[np.ndarray, Waveform]:
    image, sound = batch.raw_images[0], batch.raw_audios[0]
    assert image is not None
    assert sound is not None
    wave = resample(decode_audio(sound, max_bytes=1 << 30, max_duration_s=60), 16_000)
    return shrink_image(decode_image(image, max_pixels=1 << 26, max_bytes=1 << 30), 256), wave


@pytest.fixture(scope="module")
def raws() -> list[Batch]:
    recipe = Recipe(seed=5, records=RECORDS, difficulty=0.5, rates=rates_of(0.0))
    return [batch_of_record(recipe.make(i), f"k{i}") for i in range(RECORDS)]


def distance(modality, one: bytes | None, other: bytes | None, *, beside: bool = False) -> float:
    assert one is not None
    assert other is not None
    packed = pack(modality, [one, other], CONFIG, beside=beside)
    return float(packed.distance(np.array([0]), np.array([1]))[0])


@pytest.mark.parametrize("way", list(IMAGES))
def test_a_changed_picture_is_near_and_shares_a_cell(raws: list[Batch], way: str) -> None:
    for raw in raws:
        before = image_hash(media(raw)[0])
        after = image_hash(media(changed(raw, (way, "", ""), "k"))[0])
        if way == "brighter_10" and raw.rows[0].key == "k0":
            continue  # all but white before: what is cut off at 255 is another picture
        assert distance("image", before, after) < 0.2
        both = np.frombuffer((before or b"") + (after or b""), np.uint8).reshape(2, -1)
        rows, found = cells(pack_hashes("image", both, CONFIG).coarse_N, CONFIG.image_coarse, 4)
        assert set(found[rows == 0]) & set(found[rows == 1])


@pytest.mark.parametrize("way", list(SOUNDS))
def test_a_changed_sound_is_near(raws: list[Batch], way: str) -> None:
    for raw in raws:
        before = audio_hash(media(raw)[1])
        after = audio_hash(media(changed(raw, ("", "", way), "k"))[1])
        assert distance("audio", before, after, beside=True) < 0.22
        if way != "shift_40ms":  # near only beside a picture that matches
            assert distance("audio", before, after) < 0.125


def test_pictures_of_other_records_are_far_and_their_sounds_are_not_the_same(raws: list[Batch]) -> None:
    images, waves = zip(*(media(raw) for raw in raws), strict=True)
    packed = pack("image", [image_hash(one) or b"" for one in images], CONFIG)
    assert [len(i) for i, _ in packed.pairs()] == [0]
    i, j = np.triu_indices(RECORDS, 1)
    assert packed.without_limits().distance(i, j).min() > 0.2
    # hashes of sounds only propose: the demo's have few notes
    assert not any(compare_sounds(waves[a], waves[b]).same for a, b in zip(i, j, strict=True))


def test_what_shows_nothing_has_no_hash() -> None:
    assert image_hash(np.full((64, 80, 3), 200, np.uint8)) is None
    assert audio_hash(Waveform(np.zeros(16_000, np.float32), 16_000)) is None
    assert audio_hash(Waveform(np.ones(400, np.float32), 16_000)) is None
    assert text_sketch("  ...!? ") is None


def test_the_picture_hash_is_the_reference_one_on_64_bits(raws: list[Batch]) -> None:
    for raw in raws:
        rgb, _ = media(raw)
        ours = np.unpackbits(np.frombuffer((image_hash(rgb) or b"")[:COARSE_BYTES], np.uint8))
        theirs = imagehash.phash(Pillow.fromarray(rgb)).hash.ravel()
        assert np.count_nonzero(ours != theirs) <= 6  # it shrinks by another filter


def test_a_picture_of_another_colour_is_another_picture(raws: list[Batch]) -> None:
    rgb, _ = media(raws[0])
    grey = np.repeat(rgb.mean(axis=2, keepdims=True).round().astype(np.uint8), 3, axis=2)
    tinted = (grey * np.array([1.0, 0.7, 0.4])).astype(np.uint8)
    assert distance("image", image_hash(grey), image_hash(tinted)) == np.inf


def test_case_punctuation_and_width_do_not_count_in_a_text() -> None:
    assert normal_form("  Ｔhe DOG's\tbowl — (red)! ") == "the dog s bowl red"
    assert text_sketch("A red dog; a cat.") == text_sketch("a RED dog a cat")
    assert text_sketch("犬が走る") != text_sketch("猫が走る")
    assert text_sketch("é") == text_sketch("e\u0301")


@given(st.sets(st.integers(0, 400), min_size=1, max_size=300), st.sets(st.integers(0, 400), min_size=1, max_size=300))
def test_jaccard_of_short_texts_is_exact_and_of_long_ones_close(one: set[int], other: set[int]) -> None:
    def sketch(values: set[int]) -> bytes:
        spread = {(value * 2_654_435_761) % (1 << 32) for value in values}
        return bytes(4) + np.array(sorted(spread), "<u4")[:SKETCH].tobytes()

    packed = pack("text", [sketch(one), sketch(other)], CONFIG).without_limits()
    found = 1 - packed.distance(np.array([0]), np.array([1]))[0]
    true = len(one & other) / len(one | other)
    assert found == pytest.approx(true, abs=1e-9 if max(len(one), len(other)) < SKETCH else 0.1)


def test_bands_agree_as_often_as_minhash_says() -> None:
    words = [f"word{i} of many" for i in range(60)]
    texts = [" ".join(words), " ".join(words[:57])]
    sketches = [text_sketch(text) or b"" for text in texts]
    exact = 1 - distance("text", *sketches, beside=True)
    reference = []
    for sketch in sketches:
        one = datasketch.MinHash(num_perm=256)
        one.update_batch([bytes(part) for part in np.frombuffer(sketch[4:], np.uint8).reshape(-1, 4)])
        reference.append(one)
    assert reference[0].jaccard(reference[1]) == pytest.approx(exact, abs=0.1)
    bands = [np.frombuffer(band_keys(sketch), "<u8") for sketch in sketches]
    assert len(bands[0]) == 10
    assert (bands[0] == bands[1]).any()


def test_signatures_do_not_depend_on_limits_and_are_off_with_near() -> None:
    assert signature_recipe(DedupConfig(image_bits=3)) == signature_recipe(CONFIG)
    assert signature_recipe(DedupConfig(near=False)) == []


def test_equal_media_have_equal_hashes_of_fixed_size(raws: list[Batch]) -> None:
    rgb, wave = media(raws[0])
    assert image_hash(rgb) == image_hash(rgb.copy())
    assert len(image_hash(rgb) or b"") == HASH_BYTES + 32
    louder = Waveform(wave.samples * np.float32(0.5), wave.rate_hz)
    assert distance("audio", audio_hash(wave), audio_hash(louder)) < 0.02
    assert len(audio_hash(wave) or b"") == HASH_BYTES + 4


def test_every_way_of_change_changes_the_record(raws: list[Batch]) -> None:
    for variant in VARIANTS:
        after = changed(raws[0], variant, "k")
        assert (after.raw_images, after.raw_audios, after.rows[0].text) != (
            raws[0].raw_images,
            raws[0].raw_audios,
            raws[0].rows[0].text,
        )


def test_random_hashes_are_found_by_pairs_as_by_brute_force() -> None:
    rng = generator("test", "hashes")
    centres = rng.integers(0, 256, (12, 40), dtype=np.uint8)
    rows = np.repeat(centres, 12, axis=0)
    for row in rows:
        for place in rng.integers(0, 320, int(rng.integers(0, 30))):
            row[place // 8] ^= 1 << (place % 8)
    packed = pack("image", [row.tobytes() + bytes(32) for row in rows], CONFIG)
    found = {(int(a), int(b)) for i, j in packed.pairs() for a, b in zip(i, j, strict=True)}
    bits = np.unpackbits(rows, axis=1)
    coarse = (bits[:, None, :64] != bits[None, :, :64]).sum(2)
    fine = (bits[:, None, 64:] != bits[None, :, 64:]).sum(2)
    i, j = np.nonzero((coarse <= CONFIG.image_coarse) & (fine <= CONFIG.image_bits))
    assert found == {(int(a), int(b)) for a, b in zip(i, j, strict=True) if a < b}
    assert found


@pytest.mark.parametrize("beside", [False, True])
def test_near_texts_are_found_by_pairs_as_by_brute_force(beside: bool) -> None:
    rng = generator("test", "texts")
    common = [f"{word:x}" for word in rng.integers(1 << 12, 1 << 16, 40)]
    texts = [" ".join(common[int(i)] for i in rng.integers(0, 40, 12)) for _ in range(60)]
    texts += [text.replace(text[20:24], "some", 1) for text in texts[:30]] + [text + " x" for text in texts[:30]]
    packed = pack("text", [text_sketch(text) or b"" for text in texts], CONFIG, beside=beside)
    found = {(int(a), int(b)) for i, j in packed.pairs() for a, b in zip(i, j, strict=True)}
    i, j = np.triu_indices(len(texts), 1)
    near = np.isfinite(packed.distance(i, j))
    assert found == {(int(a), int(b)) for a, b in zip(i[near], j[near], strict=True)}
    assert len(found) >= 30
