"""What counts as the same words, picture and sound: copies do, and anything that tells two items apart does not."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import ImageDraw

from tests.bench.lookalikes import copies, held_out, pictures, sounds
from trichord.infra.digest import generator
from trichord.transforms.batch import Waveform
from trichord.transforms.dedup.detail import compare_shown, detail_of, read_detail
from trichord.transforms.dedup.same_picture import compare_pictures, strip_frame
from trichord.transforms.dedup.same_sound import compare_sounds
from trichord.transforms.dedup.same_text import differing_words, form_digest, text_form
from trichord.transforms.media import decode_audio, decode_image, resample, shrink_image

SAME_WORDS = [
    ("Stout, 0.5 l", "STOUT 0.5 L!"),
    ("Red shirt", "<p><b>Red</b>  shirt</p>"),
    ("red &amp; blue", "Red & Blue"),
    ("item, 5", "item - 5"),
    ("X-Large", "x large"),
    ("“Model 15”", '"Model 15"'),
    ("Acme® Red™", "acme red"),
    ("ﬁne ｗine", "fine wine"),
    ("Straße", "STRASSE"),
    ("a *b* c", "a b c"),
    ("2010–2015", "2010-2015"),
    ("55” TV", '55" TV'),
    ("“Model 15” chair", "Model 15 chair"),
    ("6’ 3”", "6' 3\""),
    ("T-Shirt – 5 l", "t‑shirt: 5 l"),
]
OTHER_WORDS = [
    ("Hilltop Lager, 0.5 l", "Hilltop Stout, 0.5 l"),
    ("0.5 l", "05 l"),
    ("1,5 l", "1.5 l"),
    ("-5 °C", "5 °C"),
    ("10 %", "10"),
    ("5 €", "5 $"),
    ("C++", "C#"),
    ("m²", "m2"),
    ("1½", "11/2"),
    ('15" screen', "15' screen"),
    ("15″ screen", "15′ screen"),
    ("15'' screen", "15' screen"),
    ("15” screen", "15’ screen"),
    ("55” TV", "55 TV"),
    ("blood of group A-", "blood of group A"),
    ("blood of group AB-", "blood of group AB"),
    ("mark A*", "mark A"),
    ("5* hotel", "5 hotel"),
    ("–5 °C", "5 °C"),
    ("chair <red>", "chair <blue>"),
    ("shirt <M>", "shirt <L>"),
    (
        "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f flag",
        "🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f flag",
    ),
    ("café", "cafe"),
    ("🟥 box", "🟦 box"),
    ("black shirt, white print", "white shirt, black print"),
    ("pack of 12", "pack of 1 2"),
    ("with sugar", "without sugar"),
    ("犬が走る", "猫が走る"),
    ("AB-12/3", "AB-12/4"),
]


@pytest.mark.parametrize(("one", "other"), SAME_WORDS)
def test_case_blanks_markup_and_idle_punctuation_do_not_count(one: str, other: str) -> None:
    assert text_form(one) == text_form(other)
    assert form_digest(one) == form_digest(other)
    assert differing_words(one, other) == ([], [])


@pytest.mark.parametrize(("one", "other"), OTHER_WORDS)
def test_words_numbers_signs_and_accents_count(one: str, other: str) -> None:
    assert form_digest(one) != form_digest(other)
    assert differing_words(one, other) != ([], [])


def test_the_form_of_a_crafted_text_takes_linear_time() -> None:
    for text in ("<s" * 200_000, "<" * 400_000, '"1' * 200_000, "&amp" * 100_000):
        assert isinstance(text_form(text), str)  # a search that is not linear would not end


Seen = tuple[np.ndarray, np.ndarray | None]


def see(data: bytes) -> Seen:
    """A picture as its record holds it, and its detail."""
    whole = decode_image(data, max_pixels=1 << 26, max_bytes=1 << 30)
    stored = shrink_image(whole, 256)
    detail = detail_of(whole, stored)
    return stored, None if detail is None else read_detail(detail)


# Of 72 copies; the other families meet 3 %. Copies that are missed are kept, and listed as matches.
MOST_MISSED = {"product": 6}


def check_pictures(family: str, number: int, every: int = 1) -> tuple[list[str], int]:
    """The ways of copying that were not seen to be the same, and how many of five variants were."""
    make, draw, vary = {**pictures.FAMILIES, **held_out.PICTURES}[family]
    rng = generator("test-look", family, number)
    choices = make(rng)
    shown = draw(choices)
    base = see(copies.encode(shown))
    ways = [way for i, way in enumerate(copies.PICTURES) if (i + number) % every == 0]
    missed = [way for way in ways if not compare_shown(base, see(copies.copy_picture(shown, way, rng))).same]
    variants = [vary(choices, rng) for _ in range(5)]
    merged = [
        other for other in variants if other != choices and compare_shown(base, see(copies.encode(draw(other)))).same
    ]
    return missed, len(merged)


@pytest.mark.parametrize("family", ["product", "chart", "page", "screen"])
def test_copies_of_a_picture_are_the_same_and_variants_are_not(family: str) -> None:
    missed, merged = check_pictures(family, 0, every=3)
    assert (missed, merged) == ([], 0)


@pytest.mark.full
@pytest.mark.parametrize("family", [*pictures.FAMILIES, *held_out.PICTURES])
def test_copies_of_many_pictures_are_the_same_and_no_variant_is(family: str) -> None:
    found = [check_pictures(family, number) for number in range(1, 9)]
    assert sum(merged for _, merged in found) == 0
    most = MOST_MISSED.get(family, 0.03 * 8 * len(copies.PICTURES) + 2)
    assert sum(len(missed) for missed, _ in found) <= most


def test_colour_is_compared_where_the_object_is() -> None:
    def mug(colour: str) -> Seen:
        choices = {"thing": "mug", "label": "Mint", "number": 12, "size": 400, "ground": (255, 255, 255)}
        return see(copies.encode(pictures.draw_product({**choices, "colour": colour})))

    for one, other in (("pink", "black"), ("teal", "black"), ("red", "green"), ("navy", "black"), ("orange", "yellow")):
        assert not compare_shown(mug(one), mug(other)).same
        assert compare_shown(mug(one), mug(one)).same


def test_a_grey_object_is_not_a_dark_one_on_a_ground_that_stays_white() -> None:
    picture = np.full((200, 200, 3), 255, np.uint8)
    one, other = picture.copy(), picture.copy()
    one[60:150, 60:150], other[60:150, 60:150] = 20, 70
    assert not compare_pictures(one, other).same
    other[60:150, 60:150] = 60
    assert not compare_pictures(one, other).same
    darker = np.rint(one * 0.85).astype(np.uint8)
    assert compare_pictures(one, darker).same


def test_the_order_of_two_pictures_does_not_matter_and_equal_ones_do_not_differ() -> None:
    rgb = np.asarray(pictures.draw_chart(pictures.chart(generator("test-order"))))
    small = np.asarray(cv2.resize(rgb, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA), np.uint8)
    assert compare_pictures(rgb, small) == compare_pictures(small, rgb)
    assert compare_pictures(rgb, rgb.copy()).difference == pytest.approx(0, abs=1e-3)


def test_a_frame_is_stripped_and_a_title_bar_is_not() -> None:
    picture = np.asarray(pictures.draw_product(pictures.product(generator("test-frame"))))
    framed = np.pad(picture, ((9, 9), (9, 9), (0, 0)))
    assert max(abs(a - b) for a, b in zip(strip_frame(framed).shape, picture.shape, strict=True)) <= 4
    barred = picture.copy()
    barred[:20] = 40
    barred[6:14, 30:90] = 230
    assert strip_frame(barred).shape == barred.shape


def lines_of_frame(image: np.ndarray) -> int:
    """How many of the first rows are a frame, by the definition, pixel by pixel."""
    most = max(1, round(0.08 * len(image)))
    lines = image[: most + 3].reshape(min(most + 3, len(image)), image.shape[1], -1)
    far = np.abs(lines - np.median(lines[0], axis=0)).max(axis=2)
    plain = (far <= 32).mean(axis=1) > 0.995
    depth = 0 if plain.all() else int(np.argmin(plain))
    behind = far[min(depth + 2, len(far) - 1)][far.shape[1] // 12 : far.shape[1] - far.shape[1] // 12]
    return depth + 2 if 0 < depth <= most and (behind > 40).mean() > 0.9 else 0


def test_frames_are_found_by_their_definition() -> None:
    stripped = 0
    for number in range(300):
        rng = generator("test-frames", number)
        image = rng.integers(0, 256, (*rng.integers(1, 160, 2), 3))
        if number % 3:
            image = np.pad(image // 3, (*((int(n), int(m)) for n, m in rng.integers(0, 9, (2, 2))), (0, 0)),
                           constant_values=int(rng.integers(0, 256)))  # fmt: skip
            image = np.clip(image + rng.normal(0, rng.integers(0, 18), image.shape), 0, 255)
        picture = image.astype(np.uint8)
        for shown in (picture, np.ascontiguousarray(picture[:, :, 0])):
            turned = shown.swapaxes(0, 1)
            top, bottom, left, right = map(lines_of_frame, (shown, shown[::-1], turned, turned[::-1]))
            expected = shown[top : shown.shape[0] - bottom, left : shown.shape[1] - right]
            assert np.array_equal(strip_frame(shown), expected)
            stripped += expected.shape != shown.shape
    assert stripped > 100


def test_only_a_large_drawn_picture_has_a_detail() -> None:
    page = np.asarray(pictures.draw_page(pictures.page(generator("test-detail"))))
    photo = np.asarray(held_out.draw_photo(held_out.photo(generator("test-detail"))))
    assert detail_of(page, shrink_image(page, 256)) is not None
    rough = np.kron(generator("test-detail", "rough").integers(-60, 61, (150, 200, 1)), np.ones((4, 4, 1), int))
    grainy = np.clip(photo + rough, 0, 255).astype(np.uint8)
    assert detail_of(grainy, shrink_image(grainy, 256)) is None
    small = shrink_image(page, 256)
    assert detail_of(small, small) is None


def hear(data: bytes) -> Waveform:
    return resample(decode_audio(data, max_bytes=1 << 30, max_duration_s=600), 16_000)


@pytest.mark.parametrize("family", [*sounds.FAMILIES, *held_out.SOUNDS])
def test_copies_of_a_sound_are_the_same_and_variants_are_not(family: str) -> None:
    make, play, vary = {**sounds.FAMILIES, **held_out.SOUNDS}[family]
    rng = generator("test-sound", family)
    choices = make(rng)
    heard = play(choices)
    base = hear(copies.encode_samples(heard, sounds.RATE_HZ))
    for way, change in {**copies.SOUNDS, **held_out.SOUND_WAYS}.items():
        assert compare_sounds(base, hear(copies.encode_samples(*change(heard, sounds.RATE_HZ, rng)))).same, way
    for _ in range(5):
        other = vary(choices, rng)
        assert (
            other == choices or not compare_sounds(base, hear(copies.encode_samples(play(other), sounds.RATE_HZ))).same
        )


def test_tones_of_another_pitch_are_other_sounds() -> None:
    t = np.arange(32_000) / 16_000
    tones = {
        hz: Waveform((0.4 * np.sin(2 * np.pi * hz * t)).astype(np.float32), 16_000) for hz in (440, 441, 880, 2_000)
    }
    for one in tones:
        assert [hz for hz in tones if compare_sounds(tones[one], tones[hz]).same] == [one]


def chirps(first_hz: float, last_hz: float) -> np.ndarray:
    """Four chirps in three seconds, as of a bird."""
    out, t = np.zeros(48_000), np.arange(4_000) / 16_000
    sweep = np.sin(2 * np.pi * (first_hz * t + (last_hz - first_hz) * t**2 / 0.5)) * np.hanning(4_000)
    for start in (4_800, 16_000, 27_200, 38_400):
        out[start : start + 4_000] = 0.3 * sweep
    return out


def melody(*pitches_hz: int) -> np.ndarray:
    t = np.arange(8_000) / 16_000
    return np.concatenate([0.06 * np.sin(2 * np.pi * hz * t) for hz in pitches_hz])


def heard_as(samples: np.ndarray, kind: str = "WAV") -> Waveform:
    return hear(copies.encode_samples(samples, 16_000, kind))


def test_birds_above_one_hum_are_told_apart_by_what_lies_above_4_khz() -> None:
    hum = 0.1 * np.sin(2 * np.pi * 50 * np.arange(48_000) / 16_000)
    takes = [hum, *(hum + chirps(*sweep) for sweep in ((4_500, 6_500), (6_500, 4_500), (5_500, 5_600)))]
    for i, take in enumerate(takes):
        assert compare_sounds(heard_as(take), heard_as(take, "MP3")).same
        assert not [j for j, other in enumerate(takes[:i]) if compare_sounds(heard_as(take), heard_as(other)).same]


def test_another_melody_over_one_loud_bass_is_another_sound() -> None:
    bass = 0.5 * np.sin(2 * np.pi * 60 * np.arange(32_000) / 16_000)
    takes = [bass, *(bass + melody(*notes) for notes in ((440, 494, 523, 587), (440, 494, 523, 622)))]
    for i, take in enumerate(takes):
        assert compare_sounds(heard_as(take), heard_as(take, "OGG")).same
        assert not [j for j, other in enumerate(takes[:i]) if compare_sounds(heard_as(take), heard_as(other)).same]


def test_another_consonant_is_another_word() -> None:
    one = {"said": ["one", "one", "five"], "voice_hz": 212.176, "take": 613129881}
    five, nine = (sounds.say_digits({**one, "said": ["one", "one", last]}) for last in ("five", "nine"))

    assert compare_sounds(hear(copies.encode_samples(five, sounds.RATE_HZ)),
                          hear(copies.encode_samples(five, sounds.RATE_HZ, "MP3"))).same  # fmt: skip
    assert not compare_sounds(hear(copies.encode_samples(five, sounds.RATE_HZ)),
                              hear(copies.encode_samples(nine, sounds.RATE_HZ))).same  # fmt: skip


def test_what_comes_after_two_minutes_counts() -> None:
    rng = generator("test-long")
    long = np.repeat(rng.integers(200, 900, 135), 16_000)
    one = 0.3 * np.sin(2 * np.pi * np.cumsum(long) / 16_000)
    other = one.copy()
    other[126 * 16_000 :] = one[126 * 16_000 :][::-1]
    assert compare_sounds(Waveform(one.astype(np.float32), 16_000), Waveform((one / 2).astype(np.float32), 16_000)).same
    assert not compare_sounds(Waveform(one.astype(np.float32), 16_000), Waveform(other.astype(np.float32), 16_000)).same


def test_sounds_without_anything_to_compare_are_not_the_same() -> None:
    silence = Waveform(np.zeros(16_000, np.float32), 16_000)
    assert not compare_sounds(silence, silence).same


def test_one_digit_of_a_form_counts() -> None:
    form = {"form": 2, "height": 1754, "Name": "Emil Krause", "City": "54483 Berlin", "Date": "06.10.2005",
            "Amount": "4833.57 EUR", "Account": "31932265", "Policy": "93504599"}  # fmt: skip
    one, other = (
        see(copies.encode(pictures.draw_page({**form, "Account": number}))) for number in ("31932265", "31932285")
    )

    assert not compare_shown(one, other).same


@pytest.mark.parametrize("width", [480, 640, 900])
def test_the_colour_of_a_thin_line_counts(width: int) -> None:
    line = {"kind": "line", "values": [57, 76, 75, 65, 45, 76], "title": "Mainz 2020", "width": width}
    drawn = {
        name: pictures.draw_chart({**line, "colour": name})
        for name in ("black", "brown", "navy", "grey", "purple", "red", "orange", "yellow")
    }
    seen = {name: see(copies.encode(picture)) for name, picture in drawn.items()}

    for name in drawn:
        found = [
            other for other in drawn if compare_shown(seen[name], see(copies.encode(drawn[other], "JPEG", 88))).same
        ]
        assert found == [name]
    assert compare_shown(seen["brown"], see(copies.encode(drawn["brown"], "JPEG", 50))).same


def test_the_colour_of_small_letters_counts_and_its_coding_does_not() -> None:
    def note(ink: tuple[int, int, int]) -> Pillow.Image:
        picture = Pillow.new("RGB", (600, 400), (245, 245, 245))
        for i in range(8):
            pictures.write(ImageDraw.Draw(picture), (60, 40 + 40 * i), "Delivered to the front door", 16, ink)
        return picture

    blue, black = note((10, 10, 130)), note((20, 20, 20))
    assert compare_shown(see(copies.encode(blue)), see(copies.encode(blue, "JPEG", 30))).same
    assert not compare_shown(see(copies.encode(blue)), see(copies.encode(black))).same


def test_brightness_that_cuts_a_colour_at_white_is_the_same_picture() -> None:
    pale = np.full((200, 256, 3), 250, np.uint8)
    pale[20:80], pale[110:170, 40:200] = (205, 224, 250), (52, 98, 160)
    brighter = np.clip(np.rint(pale * 1.14), 0, 255).astype(np.uint8)
    other = pale.copy()
    other[20:80] = (232, 255, 225)
    assert compare_pictures(pale, brighter).same
    assert not compare_pictures(pale, other).same


def test_a_faint_mark_on_a_dark_item_is_a_mark() -> None:
    choices = {"thing": "box", "colour": "navy", "label": "Mint", "number": 93, "size": 500, "ground": (255, 255, 255)}
    shown = pictures.draw_product(choices)
    base = see(copies.encode(shown))
    for number in (2, 4):
        marked = copies.copy_picture(shown, "watermark", generator("test-mark", number))
        assert compare_shown(base, see(marked)).same
