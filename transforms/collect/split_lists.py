"""Lists of the pictures of a part, as Flickr8k ships them (`Flickr_8k.trainImages.txt`): one name a line."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, replace

from trichord.infra.config import CaptionsSource
from trichord.infra.errors import SourceError
from trichord.infra.lake.storage import Storage, TooLarge
from trichord.transforms.bounded_text import normal_form
from trichord.transforms.collect.drafts import Draft
from trichord.transforms.text_bytes import decode_text


@dataclass(frozen=True, slots=True)
class SplitLists:
    """The mark of each picture that a list names, by the name as it is written there; `root` has the pictures."""

    marks: Mapping[str, str]
    root: str

    def mark(self, draft: Draft) -> Draft:
        """Return a draft with the mark of its picture: by its path, its file name, that without ending, or its key."""
        if draft.reason is not None and "subset" not in draft.line:
            return draft
        picture = draft.media.get("image", "")
        path = picture if isinstance(picture, str) else picture.uri[len(self.root.rstrip("/")) + 1 :]
        file = posixpath.basename(path)
        names = [normal_form("NFC", name) for name in (path, file, posixpath.splitext(file)[0], draft.key)]
        found = next((self.marks[name] for name in names if name in self.marks), None)
        return draft if found is None else replace(draft, line={**draft.line, "subset": found})


def read_splits(source: CaptionsSource, storage: Storage, root: str) -> SplitLists:
    """Read the lists that `splits` names; `root` is the folder of the pictures.

    Raises:
        SourceError: a list is missing, too large or no text, or two lists name one picture.
    """
    marks: dict[str, str] = {}
    for mark, path in source.splits.items():
        try:
            text = decode_text(storage.read(path, max_bytes=source.max_bytes))
            lines = text.replace("\r", "\n").split("\n")
        except FileNotFoundError as error:
            raise SourceError(f"{path}: there is no such file. Fix `splits` of source {source.name!r}") from error
        except TooLarge as error:
            raise SourceError(f"{error}. Raise `max_bytes` of source {source.name!r}, or split the file") from error
        except ValueError as error:
            raise SourceError(f"{path} is not UTF-8 text: {error}. Fix `splits` of source {source.name!r}") from error
        for name in filter(None, (normal_form("NFC", line.strip()) for line in lines)):
            if marks.setdefault(name, mark) != mark:
                raise SourceError(
                    f"{path}: {name[:200]!r} is also in the list of {marks[name]}. Remove it from one of the lists of "
                    f"source {source.name!r}"
                )
    return SplitLists(marks, root)
