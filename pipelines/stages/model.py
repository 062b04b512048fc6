"""Stages from records to vectors: training variants, features, agreement of modalities, the model, vectors."""

from __future__ import annotations

from trichord.encoders.frozen import load_encoders
from trichord.infra import log
from trichord.infra.lake import layout, schema
from trichord.infra.lake.shard import find_finished
from trichord.pipelines.core.model_store import finished
from trichord.pipelines.core.stage import StagePlan
from trichord.pipelines.model.feature_cache import features_address
from trichord.pipelines.stages.forecast import Forecast
from trichord.pipelines.stages.live_model import put_back, reuse_live_model
from trichord.pipelines.stages.run import Run


class Variants:
    """Training variants of records; none if `augment.copies` is 0."""

    name = "variants"

    def wanted(self, run: Run, forecast: Forecast) -> StagePlan:
        """Return one shard of variants per changed partition; more if its duplicates change."""
        asked = run.workspace.project.augment.copies > 0
        present = len(run.workspace.table("augmented").shards()) if asked else 0
        todo = 0 if not asked else max(len(forecast.to_prepare), len(run.plan.shards) - present)
        return StagePlan(
            stage=self.name,
            unit="partitions",
            to_make=todo,
            kept=len(run.plan.shards) - todo if asked else 0,
            at_least=asked,
            why="" if asked else "augment.copies is 0",
        )

    def materialise(self, run: Run) -> None:
        """Make what is missing, and commit it."""
        from trichord.pipelines.model.augment import augment

        run.variants = augment(
            run.workspace, run.engine, run.preparation.prepared, run.exclusions, run.parts, run.timings
        )
        if run.variants or run.workspace.table("augmented").version() is not None:
            run.commit("augmented", run.variants, schema.AUGMENTED)


class Features:
    """The encoders' output for every record, cached; only training and judging need it."""

    name = "features"

    def wanted(self, run: Run, forecast: Forecast) -> StagePlan:
        """Return the partitions without features; exact, except for variants."""
        if forecast.kept_model is not None and run.workspace.project.agreement.check == "off":
            return StagePlan(stage=self.name, unit="partitions", to_make=0, why="not needed: the model is kept")
        encoders = load_encoders(run.workspace.project.model).fingerprint
        addresses = {features_address(encoders, shard.address): shard for shard in run.plan.shards}
        there = find_finished(run.workspace.lake, layout.FEATURES, addresses)
        todo = [shard for address, shard in addresses.items() if address not in there]
        return StagePlan(
            stage=self.name,
            unit="partitions",
            to_make=len(todo),
            kept=len(there),
            rows=forecast.records_of(todo),
            at_least=run.workspace.project.augment.copies > 0,
            why="for training" if forecast.kept_model is None else "for judging",
        )

    def materialise(self, run: Run) -> None:
        """Make what is missing, if a later stage needs it."""
        from trichord.pipelines.model.encode import featurise

        run.model = reuse_live_model(run.workspace, run.live)
        if run.model is None or run.workspace.project.agreement.check != "off":
            run.features = featurise(
                run.workspace,
                run.engine,
                run.preparation.prepared,
                run.variants,
                partitions=run.plan.partitions,
                timings=run.timings,
            )


class FeaturesOfPart(Features):
    """Features of some of the partitions, without variants, if a model will be trained."""

    def materialise(self, run: Run) -> None:
        """Make what is missing."""
        from trichord.pipelines.model.encode import featurise

        if reuse_live_model(run.workspace, run.live) is None:
            run.features = featurise(run.workspace, run.engine, run.prepared, (), timings=run.timings)


class Agreement:
    """Judges whether the modalities of a record belong together. Records that disagree are left out on request."""

    name = "agreement"

    def wanted(self, run: Run, forecast: Forecast) -> StagePlan:
        """Return one shard per changed partition; all shards if a judging model changes."""
        settings = run.workspace.project.agreement
        if settings.check == "off":
            return StagePlan(stage=self.name, unit="partitions", to_make=0, why="agreement.check is off")
        table = run.workspace.table("agreement")
        again = bool(settings.folds and forecast.to_prepare) or forecast.kept_model is None
        todo = len(run.plan.shards) if again or table.version() is None else len(forecast.to_prepare)
        return StagePlan(
            stage=self.name,
            unit="partitions",
            to_make=todo,
            kept=len(run.plan.shards) - todo,
            at_least=True,
            why="the judging models change with the records" if again else "",
        )

    def materialise(self, run: Run) -> None:
        """Judge all records; if the run's own model judges, train it first."""
        from trichord.pipelines.model.pair_agreement import judge

        settings = run.workspace.project.agreement
        if settings.check == "off":
            if run.workspace.table("agreement").version() is not None:
                run.commit("agreement", [], schema.AGREEMENT)
            return
        if run.model is None and not settings.folds:
            _train(run)
        judged, run.disagreeing = judge(
            run.workspace, run.engine, run.features, run.exclusions, run.parts, run.model, run.timings
        )
        run.commit("agreement", judged, schema.AGREEMENT)
        log.event("judged", disagreeing=len(run.disagreeing), check=settings.check)
        if settings.check == "drop":
            run.left_out = run.disagreeing
            run.exclusions = run.exclusions.with_rows((row.partition, row.row_digest) for row in run.left_out)


class Model:
    """The fusion model: trained once, and kept while its settings are the same."""

    name = "model"

    def wanted(self, run: Run, forecast: Forecast) -> StagePlan:
        """Exact."""
        kept = forecast.kept_model is not None
        return StagePlan(
            stage=self.name, unit="models", to_make=int(not kept), kept=int(kept), why=forecast.why_trained()
        )

    def materialise(self, run: Run) -> None:
        """Train if no model is kept; it never sees records that were left out."""
        if run.model is None:
            _train(run)


def _train(run: Run) -> None:
    """Train, unless an earlier run trained the same model."""
    from trichord.pipelines.model.train import describe_model, train

    lost = run.live if run.live_model_lost else None
    instead_of = lost.fingerprint if lost is not None else ""
    item = describe_model(run.workspace, run.features, run.exclusions, run.parts, instead_of=instead_of)
    run.newly_trained = finished(run.workspace, layout.model_path(item.address)) is None
    run.model = train(run.workspace, run.engine, run.features, run.exclusions, run.parts, instead_of=instead_of)
    if lost is not None:
        run.model = put_back(run.workspace, run.model, lost)


class Vectors:
    """Vectors of every record and view, in the model's space."""

    name = "vectors"

    def wanted(self, run: Run, forecast: Forecast) -> StagePlan:
        """Return the changed partitions, or all with a new model; more if duplicates change in others."""
        changed, kept = forecast.to_prepare, forecast.vectors
        todo = [shard for shard in run.plan.shards if shard.partition.id not in kept]
        why = "rows, media or ops have changed" if changed else "no partition has changed"
        if forecast.kept_model is None:
            why = "a new model: every record is encoded with it"
        elif len(todo) > len(changed):
            why = "views or precision of the vectors have changed"
        return StagePlan(
            stage=self.name,
            unit="partitions",
            to_make=len(todo),
            kept=len(kept),
            removed=len(run.workspace.table("vectors").shards()) - len(kept),
            rows=forecast.records_of(todo),
            at_least=bool(changed),
            why=why,
        )

    def materialise(self, run: Run) -> None:
        """Encode what is missing, and commit it."""
        from trichord.pipelines.model.encode import encode

        run.vectors = encode(
            run.workspace,
            run.engine,
            run.preparation.prepared,
            run.exclusions,
            run.features,
            run.trained,
            partitions=run.plan.partitions,
            timings=run.timings,
        )
        run.commit("vectors", list(run.vectors.values()), schema.vectors_schema(run.trained.dimension))
