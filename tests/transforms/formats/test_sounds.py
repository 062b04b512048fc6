"""No sound is wrong in silence: each variant is read right, refused with a true reason, or counted by its ending."""

from __future__ import annotations

import posixpath
from collections import Counter

import pytest

from tests.transforms.formats import Counted, Read, Refused, Variant
from tests.transforms.formats.sounds import sounds
from trichord.transforms.collect.folder import MODALITY_OF_ENDING
from trichord.transforms.media import MediaError, decode_audio

VARIANTS = tuple(sounds())


def heard(data: bytes) -> tuple[object, int]:
    wave = decode_audio(data, max_bytes=1 << 28, max_duration_s=60)
    return wave.samples, wave.rate_hz


@pytest.mark.parametrize("one", [pytest.param(one, id=f"{one.format}: {one.variant}") for one in VARIANTS])
def test_a_sound_is_read_right_or_refused_with_its_reason_or_counted(one: Variant) -> None:
    ((name, data),) = one.files.items()
    ending = posixpath.splitext(name)[1].lower()
    if isinstance(one.expected, Counted):
        assert ending not in MODALITY_OF_ENDING
    elif isinstance(one.expected, Read):
        assert one.expected.check(heard(data))
    else:
        with pytest.raises(MediaError) as refusal:
            heard(data)
        assert one.expected.says in f"{refusal.value.reason}: {refusal.value.detail}"


def test_every_variant_has_its_own_name_and_none_is_expected_twice() -> None:
    assert len({(one.format, one.variant) for one in VARIANTS}) == len(VARIANTS)
    kinds = Counter(type(one.expected) for one in VARIANTS)
    assert kinds[Read] > 200
    assert kinds[Refused] > 60
    assert kinds[Counted] > 20


def test_sounds_that_are_read_are_collected_by_their_endings() -> None:
    read = {posixpath.splitext(next(iter(one.files)))[1].lower() for one in VARIANTS if isinstance(one.expected, Read)}
    assert {MODALITY_OF_ENDING.get(ending) for ending in read} == {"audio"}
