"""Default settings on a small catalogue: planted copies go, look-alikes stay and are listed, with why."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.bench.lookalikes import copies, pictures, sounds
from tests.pipelines.lakes import trichord
from trichord.infra.digest import generator
from trichord.infra.errors import ConfigError
from trichord.pipelines.api import Workspace, open_workspace

FLAVOURS = ("Lager", "Stout", "Porter", "Pils", "Cider", "Mead")
PROJECT = """lake: lake
engine: {workers: 1}
sources:
  - {name: shop, kind: manifest, path: shop.jsonl, fields: {key: sku, text: title, image: photo}}
  - {name: tones, kind: manifest, path: tones.jsonl, fields: {key: key, audio: audio}}
"""


def bottle(flavour: str, colour: str = "navy") -> pictures.Choices:
    return {"thing": "bottle", "colour": colour, "label": flavour, "number": 33, "size": 500, "ground": (255, 255, 255)}


def title(flavour: str) -> str:
    return f"Hilltop Brewery {flavour}, craft beer from the mountains, 0.5 l returnable glass bottle"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    folder = tmp_path_factory.mktemp("shop")
    rng = generator("test-shop")
    shown = {
        f"beer-{i}": (title(name), copies.encode(pictures.draw_product(bottle(name))))
        for i, name in enumerate(FLAVOURS)
    }
    lager = pictures.draw_product(bottle("Lager"))
    shown |= {
        "copy-a": (title("Lager").upper() + "!", copies.copy_picture(lager, "jpeg_50", rng)),
        "copy-b": (f"<b>{title('Lager')}</b>", copies.copy_picture(lager, "cropped", rng)),
        "other-colour": (title("Lager"), copies.encode(pictures.draw_product(bottle("Lager", "black")))),
        "other-words": (title("Lager").replace("0.5 l", "0.33 l"), copies.encode(lager, "JPEG", 90)),
        "mo\u200dha": (title("Lager").replace("0.5 l", "0.75 l"), copies.encode(lager, "JPEG", 80)),
    }
    with open(folder / "shop.jsonl", "w", encoding="utf-8") as lines:
        for key, (text, data) in shown.items():
            (folder / f"{key}.png").write_bytes(data)
            lines.write(json.dumps({"sku": key, "title": text, "photo": f"{key}.png"}) + "\n")
    with open(folder / "tones.jsonl", "w", encoding="utf-8") as lines:
        for pitch in (440, 880, 2_000):
            tone = sounds.play_tone({"pitches": [pitch], "timbre": "sine", "seconds": 1.0})
            for kind in ("WAV", "OGG") if pitch == 440 else ("WAV",):
                name = f"tone-{pitch:04d}-{kind.lower()}"
                (folder / name).write_bytes(copies.encode_samples(np.asarray(tone), sounds.RATE_HZ, kind))
                lines.write(json.dumps({"key": name, "audio": name}) + "\n")
    (folder / "trichord.yaml").write_text(PROJECT, encoding="utf-8")
    workspace = open_workspace(folder / "trichord.yaml")
    workspace.prepare()
    return workspace


def test_copies_go_and_other_words_colours_and_pitches_stay(shop: Workspace) -> None:
    found = shop.duplicates()
    dropped = {row.key: row.other_key for row in found.rows if row.outcome == "dropped"}
    assert dropped == {"copy-a": "beer-0", "copy-b": "beer-0", "tone-0440-wav": "tone-0440-ogg"}
    assert found.dropped == 3
    assert {row.kind for row in found.rows if row.outcome == "dropped"} == {"near"}
    assert {frozenset(row.distances) for row in found.rows if row.outcome == "dropped"} == {
        frozenset({"image", "text"}), frozenset({"audio"})
    }  # fmt: skip


def test_look_alikes_are_listed_with_why_they_were_kept(shop: Workspace) -> None:
    why = {row.key: row.why for row in shop.duplicates().rows if row.outcome == "kept" and row.other_key == "beer-0"}
    assert why["beer-1"] == why["other-words"] == "other words"
    assert why.get("other-colour", "another colour") in ("another colour", "a part differs", "")


def test_ls_and_show_print_both_sides(shop: Workspace) -> None:
    project = str(Path(shop.lake.root).parent / "trichord.yaml")
    listed = json.loads(trichord("duplicates", "ls", "--project", project, "--json", "--kind", "near").stdout)
    assert listed["dropped"] == listed["total"] == 3
    assert {"key", "source", "other_key", "other_source", "distances", "why", "evidence"} <= listed["rows"][0].keys()
    shown = json.loads(trichord("duplicates", "show", "other-words", "--project", project, "--json").stdout)
    [sides] = [one for one in shown["pairs"] if one["pair"]["other_key"] == "beer-0"]
    assert (sides["words"], sides["other_words"]) == (["0.33"], ["0.5"])
    assert "was dropped for" in trichord("duplicates", "show", "copy-a", "--project", project).stdout


@pytest.mark.parametrize("key", ["mo\u200dha", r"mo\u200dha", r"shop/mo\u200dha"])
def test_show_takes_a_key_as_explain_does(shop: Workspace, key: str) -> None:
    project = str(Path(shop.lake.root).parent / "trichord.yaml")
    shown = json.loads(trichord("duplicates", "show", key, "--project", project, "--json").stdout)
    assert {"mo\u200dha"} < {sides["pair"][side] for sides in shown["pairs"] for side in ("key", "other_key")}
    assert trichord("duplicates", "show", f"tones/{key}", "--project", project, check=2)


def test_an_unknown_kind_or_key_is_an_error_that_names_the_known_ones(shop: Workspace) -> None:
    with pytest.raises(ConfigError, match=r"No pair has the kind 'same'\. Known kinds.*near \(3\)"):
        shop.duplicates(kind="same")
    project = str(Path(shop.lake.root).parent / "trichord.yaml")
    assert "trichord duplicates ls" in trichord("duplicates", "show", "nothing", "--project", project, check=2).stderr


def test_the_limits_alone_decide_without_verify(shop: Workspace) -> None:
    project = Path(shop.lake.root).parent / "trichord.yaml"
    loose = open_workspace(project, "prepare.dedup.verify=false", f"lake={project.parent / 'loose'}")
    loose.prepare()
    assert loose.duplicates().dropped > 3
