"""Warnings before a run: settings that know some languages only, against the languages of the lake or its sources."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from trichord.infra.config import Project
from trichord.infra.errors import SourceError
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.ops.glimpse import glimpse
from trichord.transforms.augment.text import STEP_LANGUAGES
from trichord.transforms.clean.language import language_of
from trichord.transforms.word_breaks import language_of_script

_SHARE = 0.05  # of the records, from which a language is worth a warning
_SURE = 0.8  # probability of a language that a few texts show
_SURE_ALONE, _LONG = 0.98, 30  # probability that one text of this many characters must reach
_TEXTS = 16  # of a source
_LOOKED_AT = 8  # sources, where nothing else names the languages


def find_language_warnings(workspace: Workspace) -> Iterator[str]:
    """Yield a warning for each setting that does not know a language of the records.

    The live publication names the languages, or `prepare.text.languages`, or a few rows of the sources. Nothing is read
    where no such setting is on.
    """
    known = limited_settings(workspace.project)
    if not known:
        return
    spoken = _spoken(workspace)
    yield from language_warnings(known, spoken)


def limited_settings(project: Project) -> dict[str, frozenset[str] | None]:
    """Return the settings in use that know some languages only, with these; None for changes of text that know any."""
    found: dict[str, frozenset[str] | None] = {}
    if project.prepare.align.speech == "pocketsphinx":
        found["prepare.align.speech"] = frozenset({"en"})
    if project.prepare.text.spelling:
        found["prepare.text.spelling"] = frozenset({"en"})
    if project.augment.copies:
        text = project.augment.text
        missing = {"synonym": text.synonym.wordnet, "contextual": text.contextual.path, "rewrite": text.rewrite.path}
        for name, languages in STEP_LANGUAGES.items():
            if getattr(text, name).p > 0 and missing.get(name, "") is not None:
                found[f"augment.text.{name}"] = languages
    return found if any(languages is not None for languages in found.values()) else {}


def language_warnings(known: Mapping[str, frozenset[str] | None], spoken: Mapping[str, int]) -> Iterator[str]:
    """Yield the warnings of settings (`limited_settings`) for records by language."""
    total = sum(spoken.values())
    for language, count in sorted(spoken.items(), key=lambda item: (-item[1], item[0])):
        lacking = [name for name, languages in known.items() if languages is not None and language not in languages]
        if count < _SHARE * total or not lacking:
            continue
        changes = [name for name in known if name.startswith("augment.")]
        left = [name for name in changes if name not in lacking]
        rest = ""
        if changes and not left:
            rest = " No change of augment.text knows it, so variants have its texts as they are."
        elif len(left) < len(changes):
            rest = f" What is left for its texts: {', '.join(left)}."
        yield (
            f"Language {language} ({count / total:.0%} of the records): {', '.join(lacking)} "
            f"{'does' if len(lacking) == 1 else 'do'} not know it and will leave its rows as they are.{rest} "
            "docs/languages.md says what knows which language."
        )


def _spoken(workspace: Workspace) -> Counter[str]:
    """Return the records by language, as far as it is known before a run."""
    live = workspace.publications.live()
    found: Counter[str] = Counter()
    for one in live.verdict.contents.values() if live is not None else ():
        found.update(one.languages)
    if found:
        return found
    if declared := workspace.project.prepare.text.languages:
        return Counter(declared)
    for source in workspace.project.sources[:_LOOKED_AT]:
        try:
            records = glimpse(source, workspace.storage, _TEXTS).records
        except SourceError:
            continue  # the plan says so
        found.update(languages_of([str(record["text"]) for record in records if record.get("text")]))
    return found


def languages_of(texts: Sequence[str]) -> Counter[str]:
    """Return how many of a few texts are in each language: by script, each by itself, and else all together."""
    found: Counter[str] = Counter()
    unsure = []
    for text in texts:
        if name := language_of_script([text]):
            found[name] += 1
            continue
        likely, score = language_of(text)
        if score >= _SURE_ALONE and len(text) >= _LONG:
            found[likely] += 1
        else:
            unsure.append(text)
    if unsure:
        likely, score = language_of(" ".join(unsure))
        if score >= _SURE:
            found[likely] += len(unsure)
    return found
