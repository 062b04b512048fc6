"""Hugging Face's imagefolder and audiofolder: media in folders, described by metadata.jsonl or metadata.csv.

First folders are marks where one of them is `train`, `validation` or `test` in any usual spelling, or where they name
two parts (`train-clean-100`, `dev-clean`), unless `fields.subset` is null. A file's own folder is its `meta.label`, and
its text if no metadata describes the file. A metadata file describes files below its own folder.
"""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Literal

from trichord.infra.config import FieldMap, ManifestSource, MediaFolderSource
from trichord.infra.endings import count_ending
from trichord.infra.errors import SourceError
from trichord.infra.json_values import JsonObject
from trichord.infra.lake.storage import Stat, Storage
from trichord.transforms.bounded_text import normal_form
from trichord.transforms.collect.drafts import Draft
from trichord.transforms.collect.field_map import bad_row, map_fields
from trichord.transforms.collect.file_marks import are_marks
from trichord.transforms.collect.folder import MODALITY_OF_ENDING
from trichord.transforms.collect.manifest import manifest_records
from trichord.transforms.collect.tally import Tally

FORMATS: dict[str, Literal["jsonl", "csv"]] = {"metadata.jsonl": "jsonl", "metadata.csv": "csv"}
_FILE = "file_name"


class MediaFolderReader:
    """Iterates over the records; afterwards `endings` counts the files that are neither media nor metadata."""

    def __init__(self, source: MediaFolderSource, storage: Storage, tally: Tally | None = None) -> None:
        self._source, self._storage = source, storage
        self._tally = tally or Tally(source)
        self._root = source.path.rstrip("/")
        self._modality = "image" if source.kind == "imagefolder" else "audio"
        self.endings = Counter[str]()
        self._marked = False  # whether the first folders are marks
        self._others: dict[str, Stat] = {}  # media of another modality, which metadata may name

    def __iter__(self) -> Iterator[Draft]:
        """Yield every record; memory holds the listing.

        Raises:
            SourceError: the folder is missing or empty, or a metadata file has no file_name.
        """
        self.endings = Counter()
        media: dict[str, Stat] = {}
        self._others = {}
        metadata: list[str] = []
        for stat in self._storage.list(self._root):
            path = stat.uri[len(self._root) + 1 :]
            name = posixpath.basename(path)
            if any(part.startswith(".") for part in path.split("/")):
                continue
            if name in FORMATS:
                metadata.append(path)
                continue
            modality = MODALITY_OF_ENDING.get(posixpath.splitext(name)[1].lower())
            if modality == self._modality:
                composed = normal_form("NFC", path)
                media[path if composed in media else composed] = stat
                continue
            count_ending(self.endings, name)
            if modality is not None:
                self._others.setdefault(normal_form("NFC", path), stat)
        if not media and not metadata:
            raise SourceError(
                f"{self._root}: there is no {self._modality} file. Fix `path` of source {self._source.name!r}"
            )
        self._marked = self._source.fields.subset is not None and are_marks([*media, *metadata])
        described: set[str] = set()
        for path in metadata:
            for draft in self._read_metadata(path, media):
                if isinstance(draft, str):
                    described.add(draft)
                else:
                    yield draft
        for path, stat in media.items():
            if path not in described:
                yield self._describe_by_folder(path, stat)

    def _read_metadata(self, path: str, media: Mapping[str, Stat]) -> Iterator[Draft | str]:
        """Yield the rows of a metadata file, each after the path of the file it describes."""
        folder = posixpath.dirname(path)
        manifest = ManifestSource(
            kind="manifest",
            name=self._source.name,
            path=f"{self._root}/{path}",
            format=FORMATS[posixpath.basename(path)],
            fields=self._source.fields,
        )
        for record in manifest_records(manifest, self._storage, self._tally):
            if isinstance(record, Draft):
                yield record
                continue
            values, line = record
            name = values.get(_FILE)
            if not isinstance(name, str) or not name:
                yield bad_row(line, f"no {_FILE}")
                continue
            file = normal_form("NFC", posixpath.normpath(posixpath.join(folder, name)))
            self._tally.see_described(file, there=file in media)
            yield file
            yield self._row(file, values, line, folder, media.get(file))

    def _row(self, file: str, values: JsonObject, line: str, folder: str, stat: Stat | None) -> Draft:
        fields, own = self._source.fields, self._modality
        record = {name: value for name, value in values.items() if name != _FILE}
        for name in (fields.image, fields.audio, fields.segments):
            named = record.get(name) if name is not None else None
            if name is not None and isinstance(named, str) and "://" not in named:
                record[name] = posixpath.join(folder, named)
        if fields.key == _FILE:
            record[_FILE] = file
        draft = map_fields(record, fields.model_copy(update={own: None}), line, hidden=frozenset({_FILE}))
        subset, label = places(file, marked=self._marked)
        if "meta" not in draft.line:
            return draft
        meta = dict(draft.line["meta"])
        if label:
            meta.setdefault("label", label)
        others = {
            name: self._others.get(normal_form("NFC", named), named) if isinstance(named, str) else named
            for name, named in draft.media.items()
        }
        return replace(
            draft,
            line={**draft.line, "meta": meta, "subset": draft.line["subset"] or subset},
            media={**others, own: file if stat is None else stat},
        )

    def _describe_by_folder(self, path: str, stat: Stat) -> Draft:
        subset, label = places(path, marked=self._marked)
        record = {_FILE: path, **({"label": label} if label else {})}
        fields = FieldMap(key=_FILE, image=None, audio=None)
        draft = map_fields(record, fields, path)
        if draft.reason is not None:
            return draft
        return replace(
            draft, line={**draft.line, "text": label or None, "subset": subset}, media={self._modality: stat}
        )


def places(path: str, *, marked: bool) -> tuple[str, str]:
    """Return a file's mark and class from its folders; "" if they do not say.

    Args:
        path: below the source's folder.
        marked: the first folders are marks, known or not.
    """
    folders = path.split("/")[:-1]
    mark = folders[0] if marked and folders else ""
    classes = folders[1:] if mark else folders
    return mark, classes[-1] if classes else ""
