"""Makes the data of the examples, which lie beside this file: `python examples/data/make.py`.

- `scenes/`: 100 pictures of coloured shapes, each with a text and a sound of one name (`scene-001.jpg`, `.txt`, `.ogg`)
- `captions.json`: five captions of each picture, in COCO's form
- `manifest.jsonl`: the same records as rows of a manifest, all captions included
- `events/`: 24 sounds in labelled folders
- `pages/`: six pages with a text, a picture and a recording. The recordings are made by eSpeak NG, so they are made
  only where `espeak-ng` is installed; else they stay as they are.

Everything follows from a seed. It is dedicated to the public domain (LICENSE.txt).
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from pathlib import Path

import cv2
import numpy as np
import soundfile

from trichord.infra.digest import generator
from trichord.pipelines.demo.captions import write_captions
from trichord.pipelines.demo.render import encode_picture, render
from trichord.pipelines.demo.scenes import Scene, draw_scene
from trichord.pipelines.demo.sonify import encode_sound, sonify

HERE = Path(__file__).parent
SCENES, EVENTS = 100, 24
DIFFICULTY = 0.2
WIDTH = 176  # pixels
PAGES = (
    "The hen sits on a box in the yard and waits for the sun.",
    "A boy walks down the long road to the market with his mother.",
    "They buy three red apples and a bag of rice from the old man.",
    "In the evening the rain comes, and everybody runs into the house.",
    "The cat sleeps under the table while the children tell a story.",
    "When the moon is high, the whole village is quiet and dark.",
)


def main() -> None:
    """Write everything."""
    rows, images, annotations = [], [], []
    folder = empty(HERE / "scenes")
    for number in range(1, SCENES + 1):
        name, scene = f"scene-{number:03d}", draw_scene(generator("examples", number), DIFFICULTY)
        texts = list(dict.fromkeys(write_captions(scene, generator("examples", number, "captions"), DIFFICULTY)))
        (folder / f"{name}.txt").write_text(texts[0] + "\n", encoding="utf-8")
        (folder / f"{name}.jpg").write_bytes(picture(scene, number))
        (folder / f"{name}.ogg").write_bytes(sound(scene, number))
        media = {"image": f"scenes/{name}.jpg", "audio": f"scenes/{name}.ogg"}
        split = {"group": name, "split": "train" if number % 4 else "test"}
        rows.append({"id": name, "text": texts[0], "captions": texts[1:], **media, **split})
        images.append({"id": number, "file_name": f"{name}.jpg"})
        annotations += [{"id": 10 * number + i, "image_id": number, "caption": text} for i, text in enumerate(texts)]
    write_lines(HERE / "manifest.jsonl", rows)
    document = {"info": {"description": "made by make.py"}, "images": images, "annotations": annotations}
    (HERE / "captions.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    events()
    pages()


def picture(scene: Scene, number: int) -> bytes:
    """A JPEG of a scene."""
    drawn = render(scene, generator("examples", number, "picture"), DIFFICULTY)
    height = round(drawn.shape[0] * WIDTH / drawn.shape[1])
    return encode_picture(cv2.resize(drawn, (WIDTH, height), interpolation=cv2.INTER_AREA), "jpg", quality=75)


def sound(scene: Scene, number: int) -> bytes:
    """An Ogg of a scene, at 16 kHz."""
    return encode_sound(*sonify(scene, generator("examples", number, "sound"), DIFFICULTY), "ogg")


def events() -> None:
    """Short sounds in the folders `train` and `test`, by label: bells decay, sirens rise and fall, drones stay."""
    folder = empty(HERE / "events")
    rate = 16_000
    for number in range(EVENTS):
        rng = generator("examples", "event", number)
        t = np.arange(int(rate * rng.uniform(1.0, 1.6))) / rate
        pitch, label = rng.uniform(220, 880), ("bell", "siren", "drone")[number % 3]
        wobble = {"bell": 0 * t, "siren": 90 * np.sin(2 * np.pi * 3 * t), "drone": 0 * t}[label]
        envelope = {"bell": np.exp(-4 * t), "siren": 0 * t + 1, "drone": 0 * t + 1}[label]
        tone = sum(np.sin(2 * np.pi * k * (pitch * t) + k * wobble / 10) / k for k in (1, 2, 3))
        samples = (0.3 * envelope * tone + 0.002 * rng.standard_normal(len(t))).astype(np.float32)
        place = folder / ("test" if number % 4 == 3 else "train") / label
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{label}-{number:02d}.ogg").write_bytes(encode_sound(samples, rate, "ogg"))


def pages() -> None:
    """Pages of a book that is read aloud."""
    folder = HERE / "pages"
    folder.mkdir(exist_ok=True)
    rows = []
    for number, text in enumerate(PAGES, start=1):
        name = f"page-{number}"
        scene = draw_scene(generator("examples", "page", number), DIFFICULTY)
        (folder / f"{name}.jpg").write_bytes(picture(scene, 1_000 + number))
        if shutil.which("espeak-ng"):
            (folder / f"{name}.ogg").write_bytes(spoken(text))
        rows.append({"id": name, "text": text, "image": f"{name}.jpg", "audio": f"{name}.ogg", "group": "book"})
    write_lines(folder / "pages.jsonl", rows)


def spoken(text: str) -> bytes:
    """The text as eSpeak NG says it, an Ogg with some silence around it."""
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        subprocess.run(["espeak-ng", "-v", "en-us", "-s", "140", "-w", file.name, text], check=True)
        samples, rate = soundfile.read(file.name, dtype="float32")
    silence = 0.0005 * generator("examples", text).standard_normal(rate // 3).astype(np.float32)
    return encode_sound(np.concatenate([silence, samples * 0.7, silence]), rate, "ogg")


def empty(folder: Path) -> Path:
    """An empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def write_lines(path: Path, rows: list[dict]) -> None:
    """A JSONL file."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


if __name__ == "__main__":
    main()
