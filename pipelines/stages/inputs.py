"""The digest of everything that a reindex wants. If the live publication has the same, there is nothing to do."""

from __future__ import annotations

from trichord.encoders.frozen import load_encoders
from trichord.infra import digest
from trichord.infra.lake.publication import Publication
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.model.augment_chain import describe_variants
from trichord.pipelines.prepare.plan import Plan

LINE_FORMAT = 2  # raise it when a format behind the records changes: every index is then built again


def is_wanted(workspace: Workspace, live: Publication, wanted: str) -> bool:
    """Return True if the live publication is of the inputs `wanted`, and training is not asked for in any case."""
    return live.inputs_digest == wanted and workspace.project.train.policy == "reuse"


def inputs_digest(workspace: Workspace, plan: Plan) -> str:
    """Return the digest of everything that is wanted; if the live publication has the same, there is nothing to do."""
    project = workspace.project
    encoders = load_encoders(project.model).fingerprint
    order = [source.name for source in project.sources]  # decides which duplicate survives
    index = project.index.model_dump(mode="json")
    return digest.address(
        "inputs",
        LINE_FORMAT,
        sorted(plan.wanted),
        order,
        workspace.model_settings(),
        encoders,
        index,
        project.agreement.model_dump(mode="json"),
        project.prepare.dedup.model_dump(mode="json"),
        describe_variants(project),
    )
