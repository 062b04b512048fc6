"""Content digests: equal for records that say, show and sound exactly the same."""

from __future__ import annotations

import hashlib

from infra import digest
from transforms.batch import Image, Row, Waveform
from transforms.media import pcm16


def content_digest(row: Row, image: Image | None, wave: Waveform | None) -> str:
    """Digest of the normalised text, the canonical pixels and the canonical 16-bit samples (32 hex characters).

    A file encoded again without loss is the same content; captions, key and source do not count.
    """
    return digest.address(
        "content",
        row.text,
        None if image is None else [list(image.shape), hashlib.sha256(image.tobytes()).hexdigest()],
        None if wave is None else [wave.rate_hz, hashlib.sha256(pcm16(wave.samples).tobytes()).hexdigest()],
    )
