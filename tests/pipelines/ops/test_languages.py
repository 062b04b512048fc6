"""A setting that knows English only says so before a run on records of other languages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.bench.languages.sentences import ANSWERS
from tests.pipelines.lakes import workspace_of
from trichord.infra.errors import ConfigError
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.ops.languages import find_language_warnings, language_warnings, languages_of, limited_settings
from trichord.pipelines.prepare.plan import make_plan


def project_of(folder: Path, language: str, **settings: Any) -> Workspace:
    rows = [{"id": str(i), "text": text} for i, (text, _) in enumerate(ANSWERS[language])]
    (folder / "m.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    source = {"name": "m", "kind": "manifest", "path": "m.jsonl"}
    path = folder / "trichord.yaml"
    path.write_text(yaml.safe_dump({"lake": "lake", "sources": [source], "engine": {"workers": 1}, **settings}))
    return workspace_of(path)


@pytest.mark.parametrize(
    ("language", "settings", "expected"),
    [
        ("zh", {"prepare": {"text": {"spelling": True}}}, ["zh", "prepare.text.spelling"]),
        ("de", {"prepare": {"align": {"speech": "pocketsphinx"}}}, ["de", "prepare.align.speech"]),
        ("ja", {"augment": {"copies": 1}}, ["ja", "augment.text.spelling, augment.text.keyboard", "What is left"]),
        ("th", {"augment": {"copies": 1}}, ["th", "augment.text.swap", "variants have its texts as they are"]),
        ("en", {"prepare": {"text": {"spelling": True}}, "augment": {"copies": 1}}, []),
        ("zh", {}, []),
    ],
)  # fmt: skip
def test_what_does_not_know_the_language_of_the_sources_is_named(
    tmp_path: Path, language: str, settings: dict[str, Any], expected: list[str]
) -> None:
    found = list(find_language_warnings(project_of(tmp_path, language, **settings)))
    assert len(found) == bool(expected)
    assert all(part in found[0] for part in expected)


def test_languages_that_the_project_declares_are_believed(tmp_path: Path) -> None:
    text = {"spelling": True, "languages": ["en", "fr"]}
    found = list(find_language_warnings(project_of(tmp_path, "en", prepare={"text": text})))
    assert len(found) == 1
    assert found[0].startswith("Language fr (50% of the records): prepare.text.spelling does not know it")


def test_a_rare_language_is_no_warning(tmp_path: Path) -> None:
    known = limited_settings(project_of(tmp_path, "en", prepare={"text": {"spelling": True}}).project)
    assert list(language_warnings(known, {"en": 99, "zh": 1})) == []
    assert len(list(language_warnings(known, {"en": 90, "zh": 10}))) == 1


def test_pocketsphinx_is_refused_where_no_english_is_allowed(tmp_path: Path) -> None:
    settings = {"align": {"speech": "pocketsphinx"}, "text": {"languages": ["zh", "ja"]}}
    with pytest.raises(ConfigError, match=r"pocketsphinx knows English only.*zh, ja") as refused:
        make_plan(project_of(tmp_path, "zh", prepare=settings))
    assert "align.speech: ctc" in str(refused.value)


def test_an_unknown_country_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"pii_regions: unknown country: XX"):
        make_plan(project_of(tmp_path, "zh", prepare={"text": {"pii_regions": ["CN", "XX"]}}))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"prepare": {"text": {"pii_regions": ["UK"]}}}, r"UK \(did you mean `GB`\?\)"),
        ({"prepare": {"text": {"phone_region": "XX"}}}, "phone_region: unknown country: XX"),
        ({"prepare": {"text": {"languages": ["cn"]}}}, r"cn \(did you mean `zh`\?\)"),
        ({"augment": {"copies": 1, "text": {"languages": ["german"]}}}, r"german \(did you mean `de`\?\)"),
        ({"rag": {"language": "jp"}}, r"jp\.\nDid you mean `ja`\?"),
    ],
)
def test_a_code_of_no_country_or_language_is_refused(tmp_path: Path, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        make_plan(project_of(tmp_path, "zh", **settings))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["cn"], "did you mean `CN`"),
        ("CN", r"did you mean `\[CN\]`"),
        ("cn, germany", r"did you mean `\[CN, DE\]`"),
        (["CHN"], "did you mean `CN`"),
        (["Germny"], "did you mean `DE`"),
        (["\uff23\uff2e"], "did you mean `CN`"),
        (None, r"leave it out, or give `\[\]`"),
    ],
)
def test_a_misspelt_list_of_countries_says_what_may_be_meant(tmp_path: Path, given: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        project_of(tmp_path, "zh", prepare={"text": {"pii_regions": given}})
    assert project_of(tmp_path, "zh", prepare={"text": {"pii_regions": []}}).project.prepare.text.pii_regions == ()


def test_each_language_of_mixed_texts_is_told() -> None:
    texts = [text for language in ("zh", "de", "en") for text, _ in ANSWERS[language][:3]]
    found = languages_of(texts)
    assert set(found) == {"zh", "de", "en"}
    assert found["zh"] == 3
