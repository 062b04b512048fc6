"""Every malformed input of the tests through the whole line at once: `python -m tests.bench.malformed` (one JSON line).

What must hold: no crash, each malformed row a reject with a reason, the rows beside them kept, memory bounded.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from tests.bench.scale import watched
from tests.pipelines.lakes import result_of, trichord, write_project
from tests.transforms.malformed import audios, images, lines
from tests.transforms.samples import picture, saved

GOOD = 300


def measure(folder: Path) -> dict[str, Any]:
    """Spoil a small corpus with every malformed input and reindex it."""
    gate = {"max_reject_ratio": 1.0, "min_over_chance": 0.0}
    project = write_project(folder, records=GOOD, settings={"train": {"epochs": 1}, "gate": gate}, defects=0.0)
    corpus = folder / "corpus"
    (corpus / "good.jpg").write_bytes(saved(picture(), "JPEG"))
    rows: list[bytes] = []
    for modality, found in (("image", images()), ("audio", audios())):
        for number, (data, _) in enumerate(found.values()):
            name = f"malformed-{modality}-{number}"
            (corpus / name).write_bytes(data)
            rows.append(json.dumps({"id": name, "text": "words", modality: name}).encode())
    texts = [line.replace(b'"id": "bad"', b'"id": "bad-%d"' % n) for n, (line, _) in enumerate(lines().values())]
    with open(corpus / "manifest.jsonl", "ab") as manifest:
        manifest.writelines(line + b"\n" for line in rows + texts)
    summary, peaks = watched("reindex", project)
    rejects = result_of(trichord("rejects", "ls", "--limit", "1000", "--project", str(project), "--json"))
    reasons = Counter(row["reason"] for row in rejects["rows"])
    return {
        "malformed": {"image": len(images()), "audio": len(audios()), "text": len(lines())},
        "rows_in": summary["rows_in"],
        "rows_kept": summary["rows_kept"],
        "rows_rejected": summary["rows_rejected"],
        "without_reason": sum(not (row["reason"] and row["detail"]) for row in rejects["rows"]),
        "reasons": dict(sorted(reasons.items())),
        **peaks,
    }


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="trichord-malformed-") as name:
        sys.stdout.write(json.dumps(measure(Path(name))) + "\n")
