"""The live model: kept while the settings want the same one, and never replaced without a word when files are lost.

Another model is another space: every vector changes, and so do scores that applications compare with limits. So a run
that wants to keep the live model, but finds its files missing or damaged, stops and names the choices.
"""

from __future__ import annotations

from trichord.encoders import model_file
from trichord.encoders.frozen import load_encoders
from trichord.encoders.model_file import ModelFile
from trichord.infra import log
from trichord.infra.errors import GateFailed
from trichord.infra.lake.publication import Publication
from trichord.pipelines.core.model_store import TrainedModel, find_lost, finished
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.publish.pinned import kept_publications, missing_files


def retraining(workspace: Workspace) -> Workspace:
    """Return the same workspace with a model that is trained again, as `reindex --retrain` asks."""
    project = workspace.project
    train = project.train.model_copy(update={"policy": "always"})
    return Workspace(project.model_copy(update={"train": train}))


def reuse_live_model(workspace: Workspace, live: Publication | None) -> TrainedModel | None:
    """Return the live publication's model, if today's settings made it, say to keep it, and its files are whole."""
    if live is None or not is_wanted(workspace, live) or describe_lost(workspace, live):
        return None
    return finished(workspace, live.model)


def is_wanted(workspace: Workspace, live: Publication) -> bool:
    """Return True if today's settings and encoders fit the live model, and say to keep it."""
    return workspace.project.train.policy == "reuse" and _fits(workspace, live)


def _fits(workspace: Workspace, live: Publication) -> bool:
    if live.recipe["model"] != workspace.model_settings():
        return False
    stored = _read_model_file(workspace, live)
    if stored is None:
        return True
    encoders = load_encoders(workspace.project.model).by_modality
    # the live model cannot read features of another encoder (new weights, a newer version of its code)
    return all(stored.encoders.get(name) == encoder.fingerprint for name, encoder in encoders.items())


def describe_lost(workspace: Workspace, live: Publication) -> str:
    """Return why the live model cannot be used: what is missing or damaged of it; "" if it is whole."""
    lost = [f"{path.rsplit('/', 1)[-1]} {problem}" for path, problem in find_lost(workspace.lake, live).items()]
    stored = _read_model_file(workspace, live)
    if not lost and (stored is None or stored.fingerprint != live.fingerprint):
        lost = [f"{model_file.NAME} is damaged"]
    elif not lost and stored is not None and stored.format != model_file.MODEL_FORMAT:
        lost = [f"{model_file.NAME} has format {stored.format}, and this version of trichord reads only "
                f"{model_file.MODEL_FORMAT}"]  # fmt: skip
    return ", ".join(lost)


def require_live_model(workspace: Workspace, live: Publication | None) -> bool:
    """Return True if files of the live model are lost and training may replace it; False if the model is whole.

    Raises:
        GateFailed: files are lost, and the settings say to keep the model.
    """
    if live is None or not _fits(workspace, live):
        return False  # its folder is neither read nor written
    lost = describe_lost(workspace, live)
    if lost and is_wanted(workspace, live):
        raise GateFailed(_choices(workspace, live, lost))
    return bool(lost)


def put_back(workspace: Workspace, trained: TrainedModel, live: Publication) -> TrainedModel:
    """Return the model to publish after a lost one was trained again. An equal one takes the lost one's place."""
    same = trained.fingerprint == live.fingerprint
    log.event("model_retrained", fingerprint=trained.fingerprint, same_space=same)
    if not same:
        return trained
    lake = workspace.lake
    names = [lake.relative(stat.uri).rsplit("/", 1)[-1] for stat in lake.list(trained.path)]
    for name in sorted(names, key=lambda name: name == model_file.NAME):  # where model.json is, the model is whole
        lake.write(f"{live.model}/{name}", lake.read(trained.path, name))
    return TrainedModel(path=live.model, fingerprint=trained.fingerprint, dimension=trained.dimension)


def _read_model_file(workspace: Workspace, live: Publication) -> ModelFile | None:
    try:
        return ModelFile.parse(workspace.lake.read(live.model, model_file.NAME))
    except (FileNotFoundError, KeyError, TypeError, ValueError):
        return None


def _choices(workspace: Workspace, live: Publication, lost: str) -> str:
    whole = [row for row in kept_publications(workspace) if row.id != live.id and not missing_files(workspace, row)]
    whole = [row for row in whole if row.model != live.model]
    lines = [
        f"The live model in {workspace.lake.uri(live.model)} cannot be used: {lost}.",
        f"{live.id} needs this model, and another one is another space, so nothing was trained or published. Choose:",
        "  restore the folder from a backup and run `trichord reindex` again",
    ]
    lines += [f"  `trichord rollback {whole[0].id}`: its model is whole"] if whole else []
    lines += [
        "  `trichord reindex --retrain`: train on today's records and encode every record again. If neither records "
        "nor libraries have changed since, this gives the same model, and the space stays"
    ]
    return "\n".join(lines)
