"""`trichord adapt` on a lake: a model folder that the project file can name, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.encoders import models
from tests.pipelines.lakes import result_of, trichord


@pytest.mark.parametrize(("modality", "objective"), [("text", "paired"), ("image", "views")])
def test_an_encoder_is_adapted_to_the_lakes_records(
    lake_copy: Path, tmp_path: Path, modality: str, objective: str
) -> None:
    base, out = tmp_path / "base", tmp_path / "models" / "ours"
    base.mkdir()
    (models.bert if modality == "text" else models.vit)(base)
    encoder = (
        f"{{kind: huggingface, path: {base}, adapt: {{objective: {objective}, layers: all, learning_rate: 1e-3}}}}"
    )
    command = ("adapt", modality, "--out", str(out), "--project", str(lake_copy), "--json")
    told = result_of(trichord(*command, "--set", f"model.{modality}={encoder}"))
    assert told["held_out_after"] < told["held_out_before"]
    story = json.loads((out / "adapt.json").read_bytes())
    assert story["loss"] == told["loss"]
    assert [file.name for file in out.parent.iterdir()] == ["ours"]
    again = trichord(*command, "--set", f"model.{modality}={encoder}", check=2)
    assert "exists already" in again.stderr


def test_an_encoder_without_an_objective_is_refused(lake_copy: Path, tmp_path: Path) -> None:
    refused = trichord("adapt", "text", "--out", str(tmp_path / "x"), "--project", str(lake_copy), check=2)
    assert "adapt.objective is none" in refused.stderr
