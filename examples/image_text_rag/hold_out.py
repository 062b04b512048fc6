"""Takes one caption of every Nth photo out of a COCO captions file and makes a question of it.

    python hold_out.py ../data/captions.json --out held_out --every 10

writes `captions.json` with the remaining captions, and `questions.jsonl` for `trichord rag-eval`: the caption that was
taken out is the question, its photo the relevant record, and the photo's other captions are the references. So no
question is in the index word for word.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path


def main() -> None:
    """Read the arguments, write the two files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("captions", type=Path, help="captions file in COCO form")
    parser.add_argument("--out", type=Path, required=True, help="folder for captions.json and questions.jsonl")
    parser.add_argument("--every", type=int, default=10, help="make a question of every Nth photo")
    arguments = parser.parse_args()

    document = json.loads(arguments.captions.read_text(encoding="utf-8"))
    by_photo = defaultdict(list)
    for annotation in document["annotations"]:
        by_photo[annotation["image_id"]].append(annotation)
    photos = sorted(photo for photo, annotations in by_photo.items() if len(annotations) > 1)
    taken, questions = set(), []
    for photo in photos[:: arguments.every]:
        *others, last = sorted(by_photo[photo], key=lambda annotation: annotation["id"])
        taken.add(last["id"])
        questions.append(
            {
                "id": str(photo),
                "question": last["caption"].strip(),
                "relevant": [str(photo)],
                "references": [annotation["caption"].strip() for annotation in others],
            }
        )
    document["annotations"] = [item for item in document["annotations"] if item["id"] not in taken]
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "captions.json").write_text(json.dumps(document), encoding="utf-8")
    lines = "".join(json.dumps(question, ensure_ascii=False) + "\n" for question in questions)
    (arguments.out / "questions.jsonl").write_text(lines, encoding="utf-8")


if __name__ == "__main__":
    main()
