"""Stages from vectors to readers: the index, the gate, the publication."""

from __future__ import annotations

from collections.abc import Iterator

from trichord.index_builders.choose import group_shards
from trichord.index_builders.manifest import read_manifest
from trichord.infra.config import GateConfig
from trichord.infra.errors import StorageError
from trichord.infra.lake.publication import Candidate, Publication
from trichord.pipelines.core.stage import StagePlan
from trichord.pipelines.evaluation.figures import figures
from trichord.pipelines.index.partition_map import write_partitions
from trichord.pipelines.index.shards import live_manifest
from trichord.pipelines.publish.contents import expected_modalities
from trichord.pipelines.publish.pinned import find_candidate, find_problems, seal_candidate
from trichord.pipelines.stages.forecast import Forecast
from trichord.pipelines.stages.run import Run


class Index:
    """The index on every backend, shard by shard."""

    name = "index"

    def wanted(self, run: Run, forecast: Forecast) -> StagePlan:
        """Return the shards that hold a changed partition. An estimate: how many rows stay is known only afterwards."""
        config = run.workspace.project.index
        before = live_manifest(run.workspace, run.live, config.backends[0])
        live = {tuple(sorted(shard.inputs)) for shard in before.shards} if before is not None else set()
        counts = run.live.counts if run.live is not None else None
        share = counts.rows_kept / counts.rows if counts is not None and counts.rows else 1.0
        refs = []
        for shard in run.plan.shards:
            held = forecast.vectors.get(shard.partition.id)
            rows = held.rows if held is not None else round(shard.partition.rows * len(config.views) * share)
            refs.append((shard.partition.id, rows, held.address if held is not None else f"new {shard.address}"))
        groups = [tuple(sorted(inputs)) for inputs in group_shards(refs, config.rows_per_shard).values()]
        known = live | _of_candidate(run)
        kept = sum(group in known for group in groups)
        estimated = len(forecast.vectors) < len(run.plan.shards)
        about = estimated or kept == len(groups)  # with nothing to make, settings of the index may have changed
        stays = {ref.address for ref in forecast.vectors.values()}
        # where the groups are estimates, only a shard that has lost an input is sure to go
        gone = {group for group in live if not stays.issuperset(group)} if about else live - set(groups)
        return StagePlan(
            stage=self.name,
            unit="shards",
            to_make=len(groups) - kept,
            kept=kept,
            removed=len(gone),
            about=about,
            why="a new model: every shard is built"
            if forecast.kept_model is None
            else "shards with a changed partition",
        )

    def materialise(self, run: Run) -> None:
        """Build what is missing, and store which records it was made from."""
        from trichord.pipelines.index.build import build_backends  # faiss: a plan does without it

        run.built = build_backends(run.workspace, run.engine, run.vectors, run.trained, run.live)
        write_partitions(run.workspace, run.built.manifest, run.preparation.prepared, run.plan.shards)


def _of_candidate(run: Run) -> set[tuple[str, ...]]:
    """Return the inputs of each index shard that the last candidate has, published or not."""
    stored = find_candidate(run.workspace)
    if stored is None:
        return set()
    try:
        manifest = read_manifest(run.workspace.lake, stored[0].manifest)
    except StorageError:
        return set()  # it was removed
    return {tuple(sorted(shard.inputs)) for shard in manifest.shards}


def _against(live: Publication, limits: GateConfig) -> Iterator[str]:
    """Say what else is compared with the live publication."""
    from trichord.pipelines.publish.against_live import COMPARED

    sources = {source: int(one.records * (1 - limits.max_row_drop)) for source, one in live.verdict.contents.items()}
    if len(sources) > 1:
        yield "at least " + ", ".join(f"{rows:,} of {source}" for source, rows in sources.items())
    if sources:
        yield f"no modality of a source and no language loses more than {limits.max_row_drop:.0%} of its records"
    yield f"every figure of {live.id} is measured again"
    known = dict(figures(live.verdict.evaluation))
    compared = [path for path in known if COMPARED.fullmatch(path) and known[path] is not None]
    if compared:
        yield f"{len(compared)} figures fall by no more than their spread: {', '.join(compared)}"


class Gate:
    """Measures the candidate against the project's limits and the live publication."""

    name = "gate"

    def wanted(self, run: Run, forecast: Forecast) -> StagePlan:
        """Return what will be checked."""
        limits, live = run.workspace.project.gate, run.live
        lines = [
            "every row is accounted for, every record indexed once, every vector sound",
            f"approximate search reaches a recall of at least {limits.min_ann_recall:g} against exact search",
        ]
        if limits.min_over_chance:
            lines.append(f"the interval of every direction is above {limits.min_over_chance:g} × chance")
        named = expected_modalities(run.workspace.project)
        lines += [f"some record has {name} ({setting} names it)" for name, setting in named.items()]
        if live is not None:
            least = int(live.counts.rows_kept * (1 - limits.max_row_drop))
            lines.append(f"at least {least:,} records ({live.id} holds {live.counts.rows_kept:,})")
            recall = live.verdict.evaluation["mixed"].get("recall_at_10")
            if recall is not None:
                floor = recall - limits.max_recall_drop
                lines.append(f"mixed recall@10 of at least {floor:.3f} ({live.id} reached {recall:.3f})")
            lines += _against(live, limits)
        lines += [f"{path} of at least {least:g}" for path, least in limits.least.items()]
        lines += [f"{path} of at most {most:g}" for path, most in limits.most.items()]
        lines += [f"{path} falls by at most {drop:g}" for path, drop in limits.max_drop_of.items()]
        return StagePlan(
            stage=self.name,
            unit="candidates",
            to_make=1,
            why=f"against {live.id}" if live is not None else "against the limits alone: nothing is live",
            details=lines,
        )

    def materialise(self, run: Run) -> None:
        """Measure the candidate. Raises GateFailed if a check fails."""
        from trichord.pipelines.index.vector_tables import VectorTables
        from trichord.pipelines.publish.publish import gate

        run.candidate = Candidate(
            manifest=run.built.manifest.path,
            manifest_digest=run.built.manifest.digest,
            inputs_digest=run.inputs,
            model=run.trained.path,
            fingerprint=run.trained.fingerprint,
            table_versions=run.commit.versions,
            counts=run.counts,
            recipe={"prepare": run.plan.recipe, "model": run.workspace.model_settings()},
        )
        run.candidate = seal_candidate(
            run.workspace, run.candidate, run.plan.recipes, None if run.newly_trained else run.live
        )
        tables = VectorTables.of(run.workspace, run.vectors)
        run.verdict = gate(run.workspace, run.engine, run.candidate, run.live, tables, run.accept)


class Publish:
    """One commit that makes the candidate live."""

    name = "publish"

    def wanted(self, run: Run, forecast: Forecast) -> StagePlan:
        """Return one publication, if the gate passes."""
        return StagePlan(
            stage=self.name,
            unit="publications",
            to_make=int(run.publishing),
            why="if the gate passes" if run.publishing else "only on request: --no-publish",
        )

    def materialise(self, run: Run) -> None:
        """Publish, unless the candidate is already live or was rolled back."""
        from trichord.pipelines.publish.publish import publish, refuse_rolled_back

        live, candidate = run.live, run.candidate
        same = live is not None and (live.manifest_digest, live.inputs_digest) == (
            candidate.manifest_digest,
            candidate.inputs_digest,
        )
        if same and live is not None and not find_problems(run.workspace, live, hashed=True):
            run.published = live  # nothing but missing files was made
        elif run.publishing:
            refuse_rolled_back(run.workspace, candidate.manifest_digest)
            run.published = publish(run.workspace, candidate, run.verdict)
