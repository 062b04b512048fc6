"""A modality that the project names must be in some record: else its encoder, or its view, would be empty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from trichord.infra.config import Project
from trichord.infra.errors import SourceError
from trichord.transforms.collect import FieldCount


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRows:
    """What planning found in a source: rows, in how many of them a field is filled, and modalities that none has.

    `usable` rows are those that planning does not reject, `unmarked` ones may be without a train/test mark. `listed_s`
    is the Unix time of the inventory that was read, if one was; `endings` counts the files that are not read.
    """

    source: str
    rows: int
    usable: int
    unmarked: int
    fields: tuple[FieldCount, ...]
    lacks: frozenset[str]
    listed_s: float | None = None
    endings: Mapping[str, int] = field(default_factory=dict)


def named_modalities(project: Project) -> dict[str, str]:
    """Return the modalities that the project names, each with the setting that names it.

    It names one by an index view, or by an encoder of its own (`model.audio` of kind huggingface or plugin). The
    weight-free encoders are defaults of every project and name nothing, and so is the view `fused`. A modality that a
    source lists in `optional_fields` is demanded by its view alone.
    """
    optional = {name for source in project.sources for name in source.optional_fields}
    if "captions" in optional:
        optional.add("text")
    named = {
        modality: f"model.{modality}"
        for modality in ("text", "image", "audio")
        if getattr(project.model, modality).kind != "embedded" and modality not in optional
    }
    return named | {view: "index.views" for view in project.index.views if view != "fused"}


def require_modalities(project: Project, sources: Sequence[SourceRows]) -> None:
    """Raise if no row of any source has a modality that the project names, as far as planning can know.

    Sources without any rows pass: rows may all be deleted, which the gate guards.

    Raises:
        SourceError: such a modality.
    """
    if not any(source.rows for source in sources):
        return
    missing = {
        modality: setting
        for modality, setting in named_modalities(project).items()
        if all(modality in source.lacks for source in sources)
    }
    if not missing:
        return
    lines = [
        f"`{setting}` names {modality}, but no row of any source has {modality}"
        for modality, setting in missing.items()
    ]
    looked = ", ".join(f"{source.source} ({source.rows:,} rows)" for source in sources[:20])
    modality, setting = next(iter(missing.items()))
    fix = f"remove {modality} from `index.views`" if setting == "index.views" else f"remove `{setting}`"
    lines.append(f"Next: correct `fields` and paths of the sources, which are {looked}, or {fix}.")
    raise SourceError("\n".join(lines))
