"""The model folders that a project names, each loaded and tried: by `doctor`, and by plans and runs before any work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from trichord.encoders.base import Modality
from trichord.encoders.views import MODALITIES
from trichord.infra.config import Project

_LOADED_BYTES = 4 << 30  # a plan loads no more weights: `doctor` does


def model_probes(project: Project, most_bytes: int | None = None) -> Iterator[tuple[str, Callable[[], str]]]:
    """Yield the place of each Hugging Face model in the project file, and what loads and tries it.

    Args:
        project: its encoders, its speech model, and the models of its changes of texts, where they are in use.
        most_bytes: of larger weights only the shape is looked at.
    """
    for modality in MODALITIES:
        if getattr(project.model, modality).kind == "huggingface":
            yield f"model.{modality}", partial(_try_encoder, project, modality, most_bytes)
    if project.prepare.align.speech == "ctc":
        yield "prepare.align.ctc_model", partial(_try_speech, project)
    text = project.augment.text
    if project.augment.copies:
        if text.contextual.path is not None and text.contextual.p > 0:
            yield "augment.text.contextual", partial(_try_filler, project)
        if text.rewrite.path is not None and text.rewrite.p > 0:
            yield "augment.text.rewrite", partial(_try_paraphraser, project)


def require_models(project: Project) -> None:
    """Try every model of a project.

    Raises:
        ConfigError: one cannot be loaded whole, or gives no vector, or not always the same.
    """
    for _, probe in model_probes(project, _LOADED_BYTES):
        probe()


def _try_encoder(project: Project, modality: Modality, most_bytes: int | None) -> str:
    from trichord.encoders.frozen import load_encoder
    from trichord.encoders.huggingface import HuggingFaceEncoder
    from trichord.encoders.pretrained import weight_files

    encoder = load_encoder(modality, getattr(project.model, modality), project.model.numerics)
    assert isinstance(encoder, HuggingFaceEncoder)
    if most_bytes is not None and _size(weight_files(encoder.folder)) > most_bytes:
        return f"{encoder.family}, {encoder.dimension} values, weights not loaded"
    return encoder.check()


def _size(files: list[Path]) -> int:
    return sum(file.stat().st_size for file in files)


def _try_speech(project: Project) -> str:
    from trichord.encoders.ctc import HuggingFaceCtc

    assert project.prepare.align.ctc_model is not None  # the project file was checked
    return HuggingFaceCtc(project.prepare.align.ctc_model).check()


def _try_filler(project: Project) -> str:
    from trichord.encoders.text_generators import MaskFiller

    settings = project.augment.text.contextual
    assert settings.path is not None
    return MaskFiller(settings.path, settings.top).check()


def _try_paraphraser(project: Project) -> str:
    from trichord.encoders.text_generators import Paraphraser

    settings = project.augment.text.rewrite
    assert settings.path is not None
    return Paraphraser(settings.path, settings.prefix, settings.beams, settings.max_tokens).check()
