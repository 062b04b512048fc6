"""Stages of the preparation: records of every partition, and their duplicates. A plan imports no job."""

from __future__ import annotations

from trichord.pipelines.core.stage import StagePlan
from trichord.pipelines.stages.forecast import Forecast
from trichord.pipelines.stages.run import Run


class Records:
    """Records, rejects and signatures: one shard of each per partition."""

    name = "records"

    def wanted(self, run: Run, forecast: Forecast) -> StagePlan:
        """Return the missing shards; exact, as a shard's address says what makes it."""
        todo = forecast.to_prepare
        why = "rows, media or ops have changed" if forecast.present else "nothing is prepared yet"
        return StagePlan(
            stage=self.name,
            unit="partitions",
            to_make=len(todo),
            kept=len(forecast.unchanged),
            removed=len(forecast.present.keys() - run.plan.wanted),
            rows=sum(shard.partition.rows for shard in todo),
            why=why if todo else "no partition has changed",
        )

    def materialise(self, run: Run) -> None:
        """Make what is missing, and commit it. Raises ConfigError if a record's mark means no part."""
        from trichord.pipelines.core.marks import marks_of, require_known
        from trichord.pipelines.prepare.job import prepare_records

        run.prepared = prepare_records(run.workspace, run.engine, run.plan, run.commit)
        project = run.workspace.project
        require_known(project.train, project.sources, marks_of(item.records for item in run.prepared))


class Duplicates:
    """Exact and near duplicates over all records, and matches that are not duplicates."""

    name = "duplicates"

    def wanted(self, run: Run, forecast: Forecast) -> StagePlan:
        """Return that duplicates are found again if any signature has changed."""
        changed = bool(forecast.to_prepare) or bool(forecast.present.keys() - run.plan.wanted) or run.live is None
        return StagePlan(
            stage=self.name,
            unit="comparisons",
            to_make=int(changed),
            kept=int(not changed),
            why="all records are compared" if changed else "no record has changed",
        )

    def materialise(self, run: Run) -> None:
        """Find duplicates, leave them out, and divide the others into parts."""
        from trichord.pipelines.core.exclusions import Exclusions
        from trichord.pipelines.evaluation.parts import parts_of
        from trichord.pipelines.prepare.job import drop_duplicates

        run.preparation = drop_duplicates(run.workspace, run.engine, run.prepared, run.commit)
        run.exclusions = Exclusions.gather(run.workspace.lake, run.preparation.duplicates)
        records = [item.records for item in run.prepared]
        run.parts = parts_of(run.workspace, records, run.preparation.matches)
