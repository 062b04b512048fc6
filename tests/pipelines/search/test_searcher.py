"""Searcher: every form of a query, whole hits, one answer for all threads, and the live publication followed."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

import trichord
from tests.pipelines.lakes import rows_of
from trichord import Query, Searcher
from trichord.infra.errors import ConfigError, FingerprintMismatch, StorageError
from trichord.pipelines.demo.corpus import read_labels


@pytest.fixture(scope="module")
def corpus(indexed):
    return indexed[0].parent / "corpus"


@pytest.fixture(scope="module")
def searcher(indexed):
    return trichord.open(indexed[0]).searcher()


@pytest.fixture(scope="module")
def rows(corpus):
    """Rows that are indexed as they are, with all three modalities."""
    spoilt = {label["key"] for label in read_labels(corpus) if label["defects"]}
    return [row for row in rows_of(corpus) if row["id"] not in spoilt]


def test_every_form_of_a_picture_and_a_sound_finds_the_same(searcher, corpus, rows):
    picture, sound = corpus / rows[0]["image"], corpus / rows[0]["audio"]
    pixels = np.asarray(Image.open(picture).convert("RGB"))
    samples, rate_hz = soundfile.read(sound, dtype="float32")
    expected = searcher.search(image=picture)
    assert len(expected) == 10
    for image in (str(picture), picture.read_bytes(), Image.open(picture), Image.fromarray(pixels), pixels):
        assert searcher.search(image=image) == expected
    heard = searcher.search(audio=sound)
    assert heard != expected
    for audio in (str(sound), sound.read_bytes(), (samples, rate_hz), (np.stack([samples] * 2, axis=1), rate_hz)):
        assert searcher.search(audio=audio) == heard


def test_a_whole_record_as_a_query_is_found_with_its_text_and_files(searcher, corpus, rows):
    for row in rows[:3]:
        [hit] = searcher.search(row["text"], image=corpus / row["image"], audio=corpus / row["audio"], k=1)
        assert (hit.key, hit.text, hit.source, hit.view) == (row["id"], row["text"], "demo", "fused")
        assert hit.score == hit.rank_score == pytest.approx(1, abs=1e-4)
        assert {name: Path(uri) for name, uri in hit.media.items()} == {
            name: corpus / row[name] for name in ("image", "audio")
        }
        assert json.loads(json.dumps(hit.to_dict())) == hit.to_dict()


def test_many_queries_of_any_form_are_answered_as_one_by_one(searcher, corpus, rows):
    texts = [row["text"] for row in rows[:40]]
    mixed = [
        Query(image=corpus / rows[1]["image"]),
        {"text": rows[2]["text"], "audio": corpus / rows[2]["audio"]},
        *texts,
        Query(audio=corpus / rows[3]["audio"]),
    ]
    together = searcher.search_many(mixed, k=5)
    parts = [Query.of(query) for query in mixed]
    assert together == [searcher.search(one.text, image=one.image, audio=one.audio, k=5) for one in parts]
    assert searcher.search_many([]) == []


def test_more_queries_than_go_through_the_model_at_once_keep_their_order(searcher, rows, monkeypatch):
    texts = [row["text"] for row in rows[:10]]
    expected = searcher.search_many(texts)
    monkeypatch.setattr("trichord.pipelines.search.searcher.QUERIES_AT_ONCE", 4)
    monkeypatch.setattr("trichord.pipelines.search.searcher.MEDIA_AT_ONCE", 3)
    assert searcher.search_many(texts) == expected
    with pytest.raises(ConfigError, match="Query 10 of 11 "):
        searcher.search_many([*texts[:9], "\x00", "a"])


def test_k_records_at_most_best_first_each_once(searcher):
    found = searcher.search("a red circle", k=10_000)
    assert len(found) == len({hit.key for hit in found}) == searcher._open.index.searcher.rows
    assert [hit.score for hit in found] == sorted((hit.score for hit in found), reverse=True)
    assert searcher.search("a red circle", k=3) == found[:3]


def test_a_source_is_searched_alone(searcher):
    assert searcher.search("a red circle", source="demo") == searcher.search("a red circle")
    assert searcher.search("a red circle", source="elsewhere") == []


def test_threads_get_the_answers_of_one(searcher, rows):
    texts = [row["text"] for row in rows[:24]]
    expected = [searcher.search(text, k=4) for text in texts]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda text: searcher.search(text, k=4), texts)) == expected


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({}, r"^The query needs a text, an image or an audio"),
        ({"text": " \x00 "}, r"^The query cannot be used: row_empty|^The query is empty"),
        ({"text": "a", "k": 0}, r"^k is 0, but"),
        ({"text": "a", "ranking": "best"}, r"^There is no ranking 'best'. Known: plain, calibrated"),
        ({"text": "a", "where": {"licence": "CC0"}}, r"^The index holds no metadata, not 'licence'"),
        ({"image": b"no picture"}, r"^The query cannot be used: image_format"),
        ({"audio": b"no sound"}, r"^The query cannot be used: audio_format"),
        ({"image": "/nowhere/picture.jpg"}, r"^The image /nowhere/picture.jpg cannot be read: No such file"),
        ({"image": np.zeros((4, 4), np.float32)}, r"^The image of a query cannot be read: .*not float32 \(4, 4\)"),
        ({"audio": (np.arange(4), 16_000)}, r"^The audio of a query cannot be read: samples are float32"),
        ({"audio": 5}, r"^The audio of a query cannot be read: .*not of type int"),
    ],
)
def test_a_wrong_question_is_an_error_in_plain_words(searcher, asked, why):
    with pytest.raises(ConfigError, match=why):
        searcher.search(**asked)


def test_a_query_of_an_unknown_part_or_type_is_refused(searcher):
    for wrong in ({"video": b""}, 5, None):
        with pytest.raises(ConfigError, match="A query is a string, a Query, or a mapping"):
            searcher.search_many([wrong])


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"k": 2.5}, "k is a whole number, not 2.5"),
        ({"k": "5"}, "k is a whole number, not '5'"),
        ({"k": True}, "k is a whole number, not True"),
        ({"source": 3}, "source is the name of a source, not 3"),
        ({"where": "year = 2020"}, "where is a mapping of fields to values"),
        ({"queries": "a dog"}, "search_many takes a list of queries"),
        ({"queries": {"text": "a dog"}}, "search_many takes a list of queries"),
        ({"queries": [{"text": 5}]}, "The query has a text that is not a string: 5"),
    ],
)
def test_arguments_of_another_type_are_refused_in_plain_words(searcher, given, why):
    with pytest.raises(ConfigError, match=why):
        searcher.search_many(**{"queries": ["a dog"], **given})


@pytest.mark.parametrize("ranking", ["plain", "quota", "rank_fusion"])
def test_a_k_beyond_all_memory_gives_every_record(searcher, ranking):
    found = searcher.search("a red circle", k=10**20, ranking=ranking)
    assert found == searcher.search("a red circle", k=10_000, ranking=ranking)


def test_a_searcher_follows_what_is_published_where_it_is_asked_to(lake_copy):
    workspace = trichord.open(lake_copy)
    following, staying = Searcher(workspace, follow=True, poll_s=0), workspace.searcher()
    resting = Searcher(workspace, follow=True, poll_s=3_600)
    first, expected = staying.publication, following.search("a red circle")
    second = trichord.open(lake_copy, "index.rows_per_shard=40").reindex().publication
    assert second != first
    assert following.search("a red circle") == expected
    assert following.publication == second
    third = workspace.rollback().id
    assert third not in (first, second)
    assert following.search("a red circle") == expected
    assert following.publication == third
    assert staying.search("a red circle") == resting.search("a red circle") == expected
    assert staying.publication == resting.publication == first


def test_a_publication_that_cannot_be_opened_is_reported_and_the_open_one_goes_on_answering(lake_copy, capsys):
    following = Searcher(trichord.open(lake_copy), follow=True, poll_s=0)
    first, expected = following.publication, following.search("a red circle")
    known = set((lake_copy.parent / "lake").rglob("*.faiss"))
    second = trichord.open(lake_copy, "index.rows_per_shard=40").reindex().publication
    new = set((lake_copy.parent / "lake").rglob("*.faiss")) - known
    contents = {path: path.read_bytes() for path in new}
    for path, data in contents.items():
        path.chmod(0o644)
        path.write_bytes(bytes([data[0] ^ 1]) + data[1:])
    capsys.readouterr()
    assert following.search("a red circle") == expected
    assert following.publication == first
    assert "searcher_not_switched" in capsys.readouterr().err
    for path, data in contents.items():
        path.write_bytes(data)
    assert following.search("a red circle") == expected
    assert following.publication == second


@pytest.mark.parametrize("ending", [".faiss", ".safetensors"])
def test_a_searcher_does_not_open_on_damaged_files(lake_copy, ending):
    for victim in (lake_copy.parent / "lake").rglob(f"*{ending}"):
        victim.chmod(0o644)
        data = bytearray(victim.read_bytes())
        data[len(data) // 2] ^= 1
        victim.write_bytes(data)
    with pytest.raises((StorageError, FingerprintMismatch)):
        trichord.open(lake_copy).searcher()


def test_without_a_publication_there_is_nothing_to_open(lake_copy):
    with pytest.raises(ConfigError, match="Nothing is published yet"):
        trichord.open(lake_copy, "lake=empty").searcher()
