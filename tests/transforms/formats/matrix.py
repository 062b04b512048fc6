"""The matrix of formats: what becomes of each variant of a picture, sound, subtitle, table or archive.

`python -m tests.transforms.formats.matrix` prints a table by format; `--rows` also prints each variant. Exit 1 if
anything is wrong: read as other than it was made, refused without the true reason, or left out uncounted.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from tests.transforms.formats import Counted, Read, Refused, Variant
from tests.transforms.formats.archives import archives
from tests.transforms.formats.collecting import judge as judge_rows
from tests.transforms.formats.pictures import pictures
from tests.transforms.formats.sounds import sounds
from tests.transforms.formats.subtitles import subtitles
from tests.transforms.formats.tables import tables
from trichord.infra.config import FolderSource, StorageConfig
from trichord.infra.lake.storage import Storage
from trichord.transforms.collect.folder import FolderReader
from trichord.transforms.media import MediaError, decode_audio, decode_image

_PICTURE_REASONS = ("image_format", "image_corrupt", "image_truncated")
FATES = {Read: "read", Refused: "refused", Counted: "counted"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a variant: its fate (`read`, `refused` or `counted`), and what is wrong with that, or nothing."""

    variant: Variant
    wrong: str

    @property
    def fate(self) -> str:
        """Return the fate that is expected of it."""
        return FATES[type(self.variant.expected)]


def variants() -> Iterator[Variant]:
    """Yield the variants of all kinds."""
    return chain(pictures(), sounds(), subtitles(), tables(), archives())


def judge(variant: Variant, folder: Path) -> str:
    """Return what is wrong with what becomes of a variant in an empty folder; empty if it is as expected."""
    if variant.kind not in ("picture", "sound"):
        return judge_rows(variant, folder)
    if isinstance(variant.expected, Counted):
        return _judge_counted(variant, folder)
    (data, *_) = variant.files.values()
    try:
        found: object = (
            decode_image(data, max_pixels=1 << 20, max_bytes=1 << 24)
            if variant.kind == "picture"
            else ((sound := decode_audio(data, max_bytes=1 << 28, max_duration_s=60)).samples, sound.rate_hz)
        )
    except MediaError as error:
        why = f"{error.reason}: {error.detail}"
        known = variant.kind == "sound" or error.reason in _PICTURE_REASONS
        named = known and "none of" not in error.detail
        told = error.detail if variant.kind == "picture" else why
        return "" if isinstance(variant.expected, Refused) and variant.expected.says in told and named else why
    bytewise = not isinstance(found, np.ndarray) or found.dtype == np.uint8
    right = isinstance(variant.expected, Read) and bytewise and variant.expected.check(found)
    return "" if right else "read, and not as it was made" if isinstance(variant.expected, Read) else "read"


def _judge_counted(variant: Variant, folder: Path) -> str:
    folder.mkdir(parents=True)
    for name, data in variant.files.items():
        (folder / name).write_bytes(data)
    (folder / "read.txt").write_text("a text, as a folder without any file that is read is an error")
    reader = FolderReader(FolderSource(kind="folder", name="s", path=str(folder)), Storage(StorageConfig()))
    rows = [row.key for row in reader]
    return "" if rows == ["read"] and reader.counts.ignored == len(variant.files) else f"collected as {rows}"


def outcomes() -> Iterator[Outcome]:
    """Judge every variant."""
    with tempfile.TemporaryDirectory(prefix="trichord-formats-") as folder:
        for number, variant in enumerate(variants()):
            yield Outcome(variant, judge(variant, Path(folder) / str(number)))


def table(found: list[Outcome]) -> str:
    """Return a Markdown table: variants of each format by fate, and how many are wrong."""
    counts = Counter((one.variant.kind, one.variant.format, one.fate) for one in found)
    wrong = Counter((one.variant.kind, one.variant.format) for one in found if one.wrong)
    lines = ["| kind | format | read | refused | counted | wrong |", "|---|---|---|---|---|---|"]
    for kind, form in dict.fromkeys((one.variant.kind, one.variant.format) for one in found):
        figures = [counts[kind, form, fate] for fate in FATES.values()]
        lines.append(f"| {kind} | {form} | {' | '.join(map(str, figures))} | {wrong[kind, form]} |")
    totals = [sum(one.fate == fate for one in found) for fate in FATES.values()]
    lines.append(f"| all | {len(found)} variants | {' | '.join(map(str, totals))} | {sum(wrong.values())} |")
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", action="store_true", help="a line for each variant")
    judged = list(outcomes())
    if parser.parse_args().rows:
        for one in judged:
            print(*(one.variant.kind, one.variant.format, one.variant.variant, one.fate, one.wrong), sep="\t")  # noqa: T201
    print(table(judged))  # noqa: T201
    sys.exit(any(one.wrong for one in judged))
