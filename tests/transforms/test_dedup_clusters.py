"""The joint rule: what counts as the same record, which row survives, and how a chain is reported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from trichord.infra.config import DedupConfig
from trichord.infra.digest import generator
from trichord.transforms.dedup.candidates import Members
from trichord.transforms.dedup.clusters import find_matches, find_same_records, format_evidence, settle
from trichord.transforms.dedup.components import label_components
from trichord.transforms.dedup.crowds import bucket_edges
from trichord.transforms.dedup.near import LEADS, Ints, Modality
from trichord.transforms.dedup.shingles import text_sketch

CONFIG = DedupConfig(verify=False)  # the rule on signatures; what is compared itself: test_dedup_same.py
LONG = "the quick brown fox jumps over the lazy dog while seven wizards watch from the gate of the old town"
Parts = tuple[str | None, bytes | None, bytes | None]


def media(name: str, flips: int = 0, *, extra: bytes = bytes(32)) -> bytes:
    """A hash of its own for each name, `flips` of its fine bits turned, from the end on."""
    base = bytearray(generator("test-media", name).bytes(40))
    for bit in range(flips):
        base[39 - bit // 8] ^= 1 << (bit % 8)
    return bytes(base) + extra


def sound(name: str, flips: int = 0) -> bytes:
    return media(name, flips, extra=(3_000).to_bytes(4, "little"))


def members(rows: Sequence[Parts]) -> tuple[Members, Mapping[str, Ints]]:
    """Rows of (text, image hash, audio hash) and the edges that buckets would give."""
    columns: dict[Modality, list[bytes | None]] = {
        "text": [None if row[0] is None else text_sketch(row[0]) for row in rows],
        "image": [row[1] for row in rows],
        "audio": [row[2] for row in rows],
    }
    names = ("text", "image", "audio")
    modalities = [",".join(n for n, part in zip(names, row, strict=True) if part is not None) for row in rows]
    edges: dict[str, Ints] = {}
    for name in LEADS:
        present = np.array([i for i, one in enumerate(columns[name]) if one is not None], np.int64)
        if len(present) > 1:
            signatures = [columns[name][i] or b"" for i in present]
            whole = np.array([0]), np.array([len(present)])
            edges[name] = edges[f"close/{name}"] = bucket_edges(name, present, signatures, *whole, CONFIG)
    return Members(modalities=modalities, signatures=columns), edges


def same(*rows: Parts, config: DedupConfig = CONFIG) -> dict[int, int]:
    return {one.dropped: one.survivor for one in find_same_records(*members(rows), config)}


def test_all_modalities_must_match() -> None:
    row = (LONG, media("a"), sound("a"))
    near = (LONG.upper(), media("a", 9), sound("a", 9))
    assert same(row, near) == {1: 0}
    assert same(row, ("something else entirely is said of it", *near[1:])) == {}
    assert same(row, (near[0], media("b"), near[2])) == {}
    assert same(row, (*near[:2], sound("b"))) == {}


def test_records_of_other_modalities_are_other_records() -> None:
    assert same((LONG, media("a"), None), (LONG, media("a"), sound("a"))) == {}
    assert same((None, media("a"), None), (LONG, media("a"), None)) == {}
    assert same((None, media("a"), None), (None, media("a", 3), None)) == {1: 0}


def test_a_picture_that_shows_nothing_never_merges() -> None:
    rows, edges = members([(LONG, media("a"), None), (LONG, media("a"), None)])
    blank = Members(modalities=rows.modalities, signatures={**rows.signatures, "image": [None, media("a")]})
    assert find_same_records(blank, edges, CONFIG) == []


def test_ignored_modalities_need_not_match() -> None:
    ignoring = DedupConfig(ignore=("text",), verify=False)
    assert same((LONG, media("a"), None), ("another caption", media("a", 2), None), config=ignoring) == {1: 0}
    assert same((None, media("a"), None), ("another caption", media("a", 2), None), config=ignoring) == {1: 0}


def test_a_text_alone_needs_more_likeness_than_beside_a_picture() -> None:
    other = LONG.replace("wizards watch", "lizards doze")
    assert same((LONG, None, None), (other, None, None)) == {}
    assert same((LONG, media("a"), None), (other, media("a"), None)) == {1: 0}
    assert same((LONG, None, None), (LONG + "!", None, None)) == {1: 0}


def test_a_chain_is_cut_where_a_row_is_not_like_the_survivor() -> None:
    rows = [(None, media("a", flips), None) for flips in (0, 40, 80, 120)]
    found = find_same_records(*members(rows), CONFIG)
    assert [(one.dropped, one.survivor) for one in found] == [(1, 0), (3, 2)]
    assert {format_evidence(one.distances, compared=False) for one in found} == {"near: image 40/256"}
    pairs = np.array([(0, 1), (1, 2), (2, 3), (0, 4), (3, 4)], np.int64)
    assert settle(6, pairs).tolist() == [0, 0, 2, 2, 0, 5]


def test_evidence_tells_every_modality() -> None:
    [one] = find_same_records(*members([(LONG, media("a"), sound("a")), (LONG, media("a", 3), sound("a", 10))]), CONFIG)
    assert format_evidence(one.distances, compared=False) == "near: image 3/256, audio 0.04, text 1.00"


def test_a_shared_picture_is_a_match_with_the_earliest_row_that_is_left() -> None:
    rows, edges = members(
        [
            ("a first text about nothing that follows", media("a"), None),
            ("quite other words stand under this one", media("a", 2), None),
            ("quite other words stand under this one!", media("a", 3), None),
            ("numbers and letters: 1 2 3 4 5 6 7 x y z", media("a", 50), None),
        ]
    )
    dropped = [one.dropped for one in find_same_records(rows, edges, CONFIG)]
    assert dropped == [2]
    found = find_matches(rows, edges, dropped, CONFIG)
    assert [(one.modality, one.row, one.other, one.evidence()) for one in found] == [
        ("image", 1, 0, "image 2/256"),
        ("image", 3, 0, "image 50/256, chain"),
    ]


def test_pictures_are_matches_up_to_the_limit_that_is_set() -> None:
    """An edge may come from what the pictures hold without their ground, which says nothing of the whole."""
    rows, _ = members([(None, media("a"), None), (None, media("a", 40), None), (None, media("a", 60), None)])
    edges: dict[Modality, Ints] = {"image": np.array([(0, 1), (0, 2)], np.int64)}
    found = {
        bits: [one.row for one in find_matches(rows, edges, [], DedupConfig(verify=False, image_bits=bits))]
        for bits in (20, 48, 80)
    }
    assert found == {20: [], 48: [1], 80: [1, 2]}


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 99), st.sampled_from("xyz")), max_size=24))
def test_clusters_are_those_of_all_pairs(drawn: list[tuple[str, int, str]]) -> None:
    """Against the rule applied to every pair: buckets, collapsing and blocks change nothing."""
    rows: list[Parts] = [(text * 40, media(name, flips), None) for name, flips, text in drawn]
    found = same(*rows)
    survivors: list[int] = []
    expected = {}
    for i, (name, flips, text) in enumerate(drawn):
        alike = (
            j for j in survivors if drawn[j][::2] == (name, text) and abs(drawn[j][1] - flips) <= CONFIG.image_bits
        )
        if (survivor := next(alike, None)) is None:
            survivors.append(i)
        else:
            expected[i] = survivor
    assert found == expected


@given(st.integers(1, 30), st.lists(st.tuples(st.integers(0, 29), st.integers(0, 29)), max_size=40), st.integers(1, 5))
def test_components_do_not_depend_on_blocks(size: int, edges: list[tuple[int, int]], step: int) -> None:
    pairs = np.array([(a % size, b % size) for a, b in edges] or np.zeros((0, 2)), np.int64).reshape(-1, 2)
    blocks = [(pairs[at : at + step, 0], pairs[at : at + step, 1]) for at in range(0, len(pairs), step)]
    labels = label_components(size, iter(blocks))
    assert labels.tolist() == label_components(size, iter([(pairs[:, 0], pairs[:, 1])])).tolist()
    assert all(labels[a] == labels[b] for a, b in pairs)
    firsts = [labels.tolist().index(label) for label in range(labels.max() + 1)]
    assert firsts == sorted(firsts)


def test_many_rows_with_one_picture_are_compared_by_their_texts() -> None:
    rng = generator("test", "captions")
    texts = [" ".join(f"{word:x}" for word in rng.integers(1 << 20, 1 << 24, 8)) for _ in range(400)]
    rows: list[Parts] = [(text, media("logo", i % 4), None) for i, text in enumerate([*texts, *texts[:5]])]
    assert same(*rows) == {400 + i: i for i in range(5)}
