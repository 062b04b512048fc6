"""Run: the state of one reindex, which its stages read and add to."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from trichord.pipelines.core.commits import Commits
from trichord.pipelines.core.timings import Timings

if TYPE_CHECKING:
    from trichord.infra.engines.base import Engine
    from trichord.infra.lake.publication import Candidate, JsonDict, Publication, RowCounts, Verdict
    from trichord.infra.lake.shard import ShardRef
    from trichord.pipelines.core.exclusions import Exclusions
    from trichord.pipelines.core.model_store import TrainedModel
    from trichord.pipelines.core.workspace import Workspace
    from trichord.pipelines.evaluation.parts import Parts
    from trichord.pipelines.index.shards import Built
    from trichord.pipelines.model.pair_agreement import Disagreement
    from trichord.pipelines.prepare.job import Preparation
    from trichord.pipelines.prepare.plan import Plan
    from trichord.pipelines.prepare.prepared import Prepared


@dataclass(kw_only=True)
class Run:
    """One reindex: first what is known in advance, then what its stages have made, in their order.

    Attributes:
        workspace: the project on its lake.
        plan: what the sources hold now.
        live: the live publication.
        inputs: digest of everything that is wanted.
        publishing: True if the last stage publishes a candidate that passed the gate.
        accept: names of the gate's checks that may fail.
        engine: runs the tasks; unset if only a plan is wanted.
        commit: commits shards table by table; unset like `engine`.
        live_model_lost: True if files of the live model are missing or damaged, and training may replace it.
        timings: seconds of encoding, by table.
        stages: units made, seconds and CPU seconds of each stage.
    """

    workspace: Workspace
    plan: Plan
    live: Publication | None
    inputs: str
    publishing: bool = True
    accept: Collection[str] = ()
    engine: Engine = field(init=False)
    commit: Commits = field(init=False)
    live_model_lost: bool = False
    timings: Timings = field(default_factory=Timings)
    stages: dict[str, JsonDict] = field(default_factory=dict)

    prepared: Sequence[Prepared] = ()
    preparation: Preparation = field(init=False)
    exclusions: Exclusions = field(init=False)
    parts: Parts = field(init=False)
    variants: Sequence[ShardRef] = ()
    model: TrainedModel | None = None
    newly_trained: bool = False
    features: Mapping[str, ShardRef] = field(default_factory=dict)
    disagreeing: Sequence[Disagreement] = ()
    left_out: Sequence[Disagreement] = ()
    vectors: Mapping[str, ShardRef] = field(default_factory=dict)
    built: Built = field(init=False)
    candidate: Candidate = field(init=False)
    verdict: Verdict = field(init=False)
    published: Publication | None = None

    @property
    def trained(self) -> TrainedModel:
        """The run's model; known after the model stage."""
        if self.model is None:
            raise ValueError("the model stage has not run")
        return self.model

    @property
    def counts(self) -> RowCounts:
        """Row counts; known after the vectors stage."""
        counts = self.preparation.counts
        return replace(
            counts,
            rows_kept=counts.rows_kept - len(self.left_out),
            rows_disagreeing=len(self.left_out),
            disagreements=len(self.disagreeing),
            rows_without_view=sum(ref.counts["without_view"] for ref in self.vectors.values()),
        )
