"""Stages of the preparation: records of every partition, and what is the same record twice."""

from __future__ import annotations

from trichord.pipelines.core.exclusions import Exclusions
from trichord.pipelines.core.stage import StagePlan
from trichord.pipelines.prepare.job import drop_duplicates, prepare_records
from trichord.pipelines.stages.forecast import Forecast
from trichord.pipelines.stages.run import Run


class Records:
    """Records, rejects and signatures: a shard of each a partition."""

    name = "records"

    def wanted(self, run: Run, forecast: Forecast) -> StagePlan:
        """Exact: a shard's address says what makes it."""
        todo = forecast.to_prepare
        return StagePlan(
            stage=self.name,
            unit="partitions",
            to_make=len(todo),
            kept=len(forecast.unchanged),
            removed=len(forecast.present.keys() - run.plan.wanted),
            rows=sum(shard.partition.rows for shard in todo),
            why="rows, media or ops have changed" if todo else "every partition is as it was",
        )

    def materialise(self, run: Run) -> None:
        """Make what is missing, and commit it."""
        run.prepared = prepare_records(run.workspace, run.engine, run.plan, run.commit)


class Duplicates:
    """Exact and near duplicates over all records, and the matches that are none."""

    name = "duplicates"

    def wanted(self, run: Run, forecast: Forecast) -> StagePlan:
        """Made again wherever any signature has changed."""
        changed = bool(forecast.to_prepare) or bool(forecast.present.keys() - run.plan.wanted) or run.live is None
        return StagePlan(
            stage=self.name,
            unit="comparisons",
            to_make=int(changed),
            kept=int(not changed),
            why="all records are compared again" if changed else "the records are as they were",
        )

    def materialise(self, run: Run) -> None:
        """Find them, and leave out what they drop."""
        run.preparation = drop_duplicates(run.workspace, run.engine, run.prepared, run.commit)
        run.exclusions = Exclusions.gather(run.workspace.lake, run.preparation.duplicates)
