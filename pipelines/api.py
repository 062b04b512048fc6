"""The public face: a project opened on its lake, with its jobs as methods. `import trichord` exports these names."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trichord.infra.config import ModelConfig, Project
from trichord.infra.errors import ConfigError
from trichord.pipelines.core import workspace as core

if TYPE_CHECKING:
    import pyarrow.dataset as ds

    from trichord.encoders.base import Encoder, Modality
    from trichord.encoders.model import FusionModel
    from trichord.infra.lake.publication import Publication
    from trichord.pipelines.backfill import BackfillSummary, Window
    from trichord.pipelines.core.planned import Basis
    from trichord.pipelines.core.runs import RunNote
    from trichord.pipelines.nightly import NightSummary
    from trichord.pipelines.prepare.job import PrepareSummary
    from trichord.pipelines.publish.diff import Diff
    from trichord.pipelines.publish.evaluate import Evaluated
    from trichord.pipelines.publish.explain import Explanation
    from trichord.pipelines.publish.gc import Collected
    from trichord.pipelines.publish.maintain import Maintained
    from trichord.pipelines.publish.recover import Recovery
    from trichord.pipelines.publish.status import Status
    from trichord.pipelines.publish.verify import Verified
    from trichord.pipelines.reindex import RunSummary
    from trichord.pipelines.rejects.duplicates import DuplicateList
    from trichord.pipelines.run_plan import RunPlan
    from trichord.pipelines.search.searcher import Hit, Searcher
    from trichord.pipelines.watch.loop import Watched


@dataclass(frozen=True, slots=True)
class Workspace(core.Workspace):
    """A project on its lake. Opening it is cheap: nothing is read until a job asks.

    Every method raises an error of `trichord.errors`, named by its consequence: ConfigError (nothing was touched),
    GateFailed (the old index stays live), CommitConflict, PartialRun (a rerun resumes), StorageError, SourceError,
    ServiceError.
    """

    def plan(self) -> RunPlan:
        """Return what `reindex` would do now, stage by stage, and an estimate of its time; change nothing."""
        from trichord.pipelines.run_plan import plan_run

        return plan_run(self)

    def prepare(self) -> PrepareSummary:
        """Collect, clean, align and deduplicate the sources' rows, without training, indexing or publishing."""
        from trichord.pipelines.prepare.job import prepare_only

        return prepare_only(self)

    def reindex(
        self,
        *,
        publish: bool = True,
        accept: Collection[str] = (),
        retrain: bool = False,
        source: str | None = None,
        prefix: str | None = None,
        keys: Collection[str] | None = None,
        wait: bool = False,
        planned: RunPlan | Basis | None = None,
        trigger: str = "command",
    ) -> RunSummary:
        """Bring lake and index up to date with the sources, measure, and publish.

        Args:
            publish: if False, stop after the gate; `publish` can then publish the candidate.
            accept: names of the gate's checks that may fail, because a drop is intended.
            retrain: train even if the live model could be kept; it may then be another space.
            source: look only at this source; the others are as in their last plans.
            prefix: look only at its rows whose key begins with this.
            keys: look only at its rows with these keys.
            wait: wait for another run on the lake to end; otherwise that is a CommitConflict.
            planned: what `plan` returned; the run is refused if lake, sources or settings have moved on since.
            trigger: what started it, for the history of runs: command, nightly, event, sweep or backfill.
        """
        from trichord.pipelines.reindex import reindex
        from trichord.transforms.collect.scope import scope_of

        scope = scope_of(source, prefix=prefix, keys=keys)
        from trichord.pipelines.core.planned import Basis

        basis = planned if planned is None or isinstance(planned, Basis) else planned.basis
        return reindex(
            self,
            publishing=publish,
            accept=accept,
            retrain=retrain,
            scope=scope,
            wait=wait,
            trigger=trigger,
            planned=basis,
        )

    def backfill(
        self, *, window: Window | None = None, accept: Collection[str] = (), switch: bool = True
    ) -> BackfillSummary:
        """Make every shard that the project wants beside the live index, then gate and switch to it.

        Args:
            window: prepare and featurise only this part; by default everything is made.
            accept: names of the gate's checks that may fail.
            switch: if False, only make shards.
        """
        from trichord.pipelines.backfill import Window, backfill

        return backfill(self, window=window or Window(), accept=accept, switch=switch)

    def nightly(self, *, accept: Collection[str] = (), wait: bool = False) -> NightSummary:
        """Reindex, make up for missed nights, and maintain the lake, also if the gate refuses the new index.

        Args:
            accept: names of the gate's checks that may fail.
            wait: wait for another run on the lake to end; otherwise that is a CommitConflict.
        """
        from trichord.pipelines.nightly import nightly

        return nightly(self, accept=accept, wait=wait)

    def maintain(self, *, wait: bool = False) -> Maintained:
        """Remove what no kept publication needs; `wait` for a run on the lake to end."""
        from trichord.pipelines.publish.maintain import maintain

        return maintain(self, wait=wait)

    def watch(self, *, once: bool = False) -> Watched:
        """Index what events name as they come, and everything on a clock, until a signal ends the process.

        Args:
            once: instead, empty the queues (`watch.queues`), index what they named, and return what was done.
        """
        from trichord.pipelines.watch.loop import watch

        return watch(self, once=once)

    def evaluate(self, *, all_records: bool = False) -> Evaluated:
        """Measure the live publication on test records: query → gallery recall, and the mixed galleries.

        Args:
            all_records: if True, all test records; else at most `evaluate.max_records`, as the gate does.
        """
        from trichord.pipelines.publish.evaluate import evaluate_live

        return evaluate_live(self, all_records=all_records)

    def publish(self, *, accept: Collection[str] = ()) -> Publication:
        """Publish the candidate of the last `reindex`, if the gate passed it or `accept` names the checks that failed.

        The publication records what was accepted.
        """
        from trichord.pipelines.publish.publish import publish_candidate

        return publish_candidate(self, accept)

    def rollback(self, to: str | None = None) -> Publication:
        """Make an earlier publication live again in one commit: publication `to`, by default the previous one."""
        from trichord.pipelines.publish.publish import rollback

        return rollback(self, to)

    def runs(self) -> list[RunNote]:
        """Return what the last runs on the lake did and took, newest first."""
        from trichord.pipelines.core.runs import KEPT, last_runs

        return last_runs(self.lake, 2 * KEPT)

    def status(self) -> Status:
        """Return what is live, what the lake holds, and the gate's last verdict."""
        from trichord.pipelines.publish.status import status

        return status(self)

    def explain(self, key: str) -> Explanation:
        """Return a record's whole journey, from the source's row to the index row or to the op that rejected it."""
        from trichord.pipelines.publish.explain import explain

        return explain(self, key)

    def verify(self) -> Verified:
        """Hash every file of the lake again, and check the counts of the kept publications."""
        from trichord.pipelines.publish.verify import verify

        return verify(self)

    def recover(self, *, yes: bool = False) -> Recovery:
        """Find what is damaged in the lake, and bring it back to its last whole state if `yes`."""
        from trichord.pipelines.publish.recover import recover

        return recover(self, yes=yes)

    def gc(self, *, delete: bool = False) -> Collected:
        """Find the files that no kept publication needs; remove them if `delete`."""
        from trichord.pipelines.publish.gc import gc

        return gc(self, delete=delete)

    def diff(
        self,
        before: str | None = None,
        after: str | None = None,
        *,
        queries: int = 200,
        report: str | os.PathLike[str] | None = None,
    ) -> Diff:
        """Return what changed between two publications, by default the live one and the one before it.

        Args:
            before: a publication's id; `publications@N`, the one live at version N of that table; or `records@N`, the
                tables as of that version, without an index.
            after: the same.
            queries: test records that ask both indexes, at most; 0 for none.
            report: write an HTML page about it here.
        """
        from trichord.pipelines.publish.diff import diff

        return diff(self, before, after, queries=queries, report=None if report is None else Path(report))

    def searcher(
        self, *, follow: bool = False, backend: str | None = None, model: str | os.PathLike[str] | None = None
    ) -> Searcher:
        """Open the live publication for searching; with `follow`, the searcher switches to later publications."""
        from trichord.pipelines.search.searcher import Searcher

        return Searcher(self, follow=follow, backend=backend, model=model)

    def search(self, text: str | None = None, **asked: Any) -> list[Hit]:
        """Open the live publication for one query, and answer it; see `Searcher.search`. For more queries, keep a
        `searcher`."""
        return self.searcher().search(text, **asked)

    def model(self) -> FusionModel:
        """Load the live publication's model: `encode_text`, `encode_image`, `encode_audio`."""
        from trichord.pipelines.core.model_store import load_model

        live = self.publications.require_live()
        return load_model(self.lake, live.model, live.fingerprint, self.project.model)

    def records(self) -> ds.Dataset:
        """Return the records of the live publication, duplicates included; of the last run if nothing is published."""
        return self._dataset("records")

    def vectors(self) -> ds.Dataset:
        """Return the vectors of the live publication, one row per record and view."""
        return self._dataset("vectors")

    def rejects(self) -> ds.Dataset:
        """Return the rejected rows of the live publication, with reasons; of the last run if nothing is published."""
        return self._dataset("rejects")

    def duplicates(self, *, kind: str | None = None, source: str | None = None, limit: int = 1_000) -> DuplicateList:
        """Return the pairs of records of which one was dropped, and those that are only alike, with why.

        Args:
            kind: 'near', 'exact_content' or 'same_key' (dropped), 'uncertain' or 'match' (both kept).
            source: only pairs with a record of this source.
            limit: the largest number of pairs to return; all are counted.
        """
        from trichord.pipelines.rejects.duplicates import list_duplicates

        return list_duplicates(self, kind=kind, source=source, limit=limit)

    def _dataset(self, name: str) -> ds.Dataset:
        from trichord.pipelines.publish.datasets import open_dataset

        return open_dataset(self, name)


def open_workspace(path: str | os.PathLike[str] = "trichord.yaml", *overrides: str) -> Workspace:
    """Open a project file on its lake.

    Args:
        path: the project file.
        overrides: settings that replace the file's, as with `--set`: `"engine.workers=2"`.

    Raises:
        ConfigError: the file does not exist, or a setting is wrong.
    """
    from trichord.infra.project import load_project

    return Workspace(load_project(os.fspath(path), list(overrides)))


def workspace_of(project: Project | Mapping[str, Any]) -> Workspace:
    """Return a workspace for settings in memory; relative paths start at the working folder."""
    return Workspace(project if isinstance(project, Project) else Project.model_validate(project))


def load_model(
    folder: str | os.PathLike[str],
    encoders: Mapping[str, str] | None = None,
    *,
    plugins: Mapping[Modality, Encoder] | None = None,
) -> FusionModel:
    """Load a fusion model by itself, from a folder of a lake or one that `FusionModel.save` wrote.

    The folder is data: it decides neither what code runs nor what is fetched from the Hub.

    Args:
        folder: holds model.json and model.safetensors.
        encoders: modality -> folder of its Hugging Face model, or name on the Hub; by default where it was when the
            model was saved.
        plugins: modality -> encoder of your own, constructed; necessary where the model was trained with a plug-in.

    Raises:
        ConfigError: the folder holds no model, an encoder's folder does not exist, or the model was trained with a
            plug-in and none is given.
        FingerprintMismatch: weights, settings or an encoder differ from what was saved.
        StorageError: a file is missing or cannot be read.
    """
    from trichord.encoders import model_file
    from trichord.encoders.model import FusionModel

    if not os.path.isfile(os.path.join(os.fspath(folder), model_file.NAME)):
        raise ConfigError(
            f"{os.fspath(folder)} is not the folder of a model: it holds no {model_file.NAME}.\n"
            "Name a folder that `FusionModel.save` wrote, or one in `models/` of a lake."
        )
    places = None
    if encoders:
        places = ModelConfig.model_validate(
            {name: {"kind": "huggingface", "path": os.fspath(path)} for name, path in encoders.items()}
        )
    return FusionModel.load(os.fspath(folder), places, plugins=plugins)
