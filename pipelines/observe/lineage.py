"""Lineage of each run as OpenLineage events: START, then COMPLETE or FAIL with the versions of all datasets.

The client, its transport and its time limits are configured by the library's own environment (OPENLINEAGE_URL,
OPENLINEAGE_CONFIG, OPENLINEAGE__TRANSPORT__...). It takes seconds to import, so only the outbox's thread does.
"""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from trichord.infra import log
from trichord.infra.lake import layout
from trichord.infra.lake.publication import Check
from trichord.infra.redaction import redact
from trichord.pipelines.core.runs import SIGNALLED, RunNote
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.observe.outbox import Outbox
from trichord.pipelines.observe.receiver import State
from trichord.pipelines.observe.state import LakeState

if TYPE_CHECKING:
    from openlineage.client.event_v2 import InputDataset, OutputDataset

_PRODUCER = "https://pypi.org/project/trichord"
_NAMESPACE = "trichord"  # of jobs, unless OPENLINEAGE_NAMESPACE names another


class LineageReceiver:
    """Emits the events of runs."""

    def __init__(self, workspace: Workspace, outbox: Outbox) -> None:
        self._workspace, self._outbox = workspace, outbox
        self._client: Any = None

    def started(self, note: RunNote) -> None:
        """Emit START with the sources, whose versions are not known yet."""
        self._emit("START", note, lambda: ([_source(self._workspace, name, None) for name in self._names()], []))

    def ended(self, note: RunNote, state: State) -> None:
        """Emit COMPLETE, FAIL, or ABORT where a signal ended the run."""
        known = state()
        kind = "COMPLETE" if not note.exit_code else "ABORT" if note.exit_code in SIGNALLED else "FAIL"
        self._emit(
            kind,
            note,
            lambda: (
                [_source(self._workspace, name, note) for name in self._names()] + _measured(self._workspace, known),
                _tables(self._workspace, known) + _index(self._workspace, known),
            ),
        )

    def _names(self) -> list[str]:
        return [source.name for source in self._workspace.project.sources]

    def _emit(
        self, kind: str, note: RunNote, datasets: Callable[[], tuple[list[InputDataset], list[OutputDataset]]]
    ) -> None:
        seconds, exit_code, error = note.seconds, note.exit_code, note.error  # as they are now

        def letter() -> None:
            from openlineage.client.event_v2 import Job, Run, RunEvent, RunState
            from openlineage.client.facet_v2 import error_message_run, job_type_job, processing_engine_run

            facets: dict[str, Any] = {
                "processing_engine": processing_engine_run.ProcessingEngineRunFacet(
                    version=note.version, name="trichord"
                )
            }
            if exit_code and error:
                facets["errorMessage"] = error_message_run.ErrorMessageRunFacet(
                    message=f"exit {exit_code}: {error}", programmingLanguage="python"
                )
            job_type = job_type_job.JobTypeJobFacet(processingType="BATCH", integration="TRICHORD", jobType="JOB")
            inputs, outputs = datasets()
            at = note.started + timedelta(seconds=seconds)
            event = RunEvent(
                eventType=RunState(kind),
                eventTime=at.isoformat(timespec="milliseconds"),
                run=Run(runId=_run_id(self._workspace, note), facets=facets),
                job=Job(
                    namespace=os.environ.get("OPENLINEAGE_NAMESPACE", _NAMESPACE),
                    name=f"{_name_of(self._workspace.lake.root)[1].strip('/').replace('/', '.')}.{note.verb}",
                    facets={"jobType": job_type},
                ),
                inputs=inputs,
                outputs=outputs,
                producer=_PRODUCER,
            )
            self._open().emit(event)
            log.event("lineage_sent", type=kind)

        self._outbox.send(letter)

    def _open(self) -> Any:
        if self._client is None:
            from openlineage.client import OpenLineageClient

            logging.getLogger("openlineage").setLevel(logging.CRITICAL)  # what fails is an event of ours
            before = set(os.environ)
            # it would run git in the working folder, whose remote has nothing to do with the run
            self._client = OpenLineageClient(config={"facets": {"source_code_location": {"disabled": True}}})
            for name in set(os.environ) - before:  # it copies its settings, a key too, to other variables
                if name.startswith("OPENLINEAGE__"):
                    del os.environ[name]
        return self._client


def _run_id(workspace: Workspace, note: RunNote) -> str:
    """Return the run's id as a UUID, which OpenLineage demands."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{redact(workspace.lake.root)}/{layout.run_path(note.id)}"))


def _name_of(place: str) -> tuple[str, str]:
    """Return namespace and name of a dataset, by OpenLineage's naming of files and objects."""
    parts = urlsplit(redact(place))
    if parts.scheme and parts.netloc:
        return f"{parts.scheme}://{parts.netloc}", parts.path.strip("/") or "/"
    return "file", place


def _source(workspace: Workspace, name: str, note: RunNote | None) -> InputDataset:
    from openlineage.client.event_v2 import InputDataset
    from openlineage.client.facet_v2 import dataset_version_dataset, input_statistics_input_dataset

    [source] = [one for one in workspace.project.sources if one.name == name]
    namespace, path = _name_of(source.path)
    found = note.sources.get(name) if note is not None else None
    if found is None:
        return InputDataset(namespace=namespace, name=path)
    statistics = input_statistics_input_dataset.InputStatisticsInputDatasetFacet(rowCount=found.rows)
    return InputDataset(
        namespace=namespace,
        name=path,
        facets={"version": dataset_version_dataset.DatasetVersionDatasetFacet(found.version)},
        inputFacets={"inputStatistics": statistics},
    )


def _tables(workspace: Workspace, state: LakeState) -> list[OutputDataset]:
    from openlineage.client.event_v2 import OutputDataset
    from openlineage.client.facet_v2 import dataset_version_dataset, output_statistics_output_dataset

    found = []
    for name, table in state.tables.items():
        namespace, path = _name_of(workspace.lake.uri(name))
        statistics = output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(
            rowCount=table.rows, size=table.bytes, fileCount=table.shards
        )
        found.append(
            OutputDataset(
                namespace=namespace,
                name=path,
                facets={"version": dataset_version_dataset.DatasetVersionDatasetFacet(str(table.version))},
                outputFacets={"outputStatistics": statistics},
            )
        )
    return found


def _index(workspace: Workspace, state: LakeState) -> list[OutputDataset]:
    """Return the live publication's index."""
    from openlineage.client.event_v2 import OutputDataset
    from openlineage.client.facet_v2 import dataset_version_dataset, output_statistics_output_dataset

    if state.live is None:
        return []
    namespace, path = _name_of(workspace.lake.uri(layout.INDEX))
    statistics = output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(
        rowCount=state.live.counts.rows_kept - state.live.counts.rows_without_view
    )
    return [
        OutputDataset(
            namespace=namespace,
            name=path,
            facets={"version": dataset_version_dataset.DatasetVersionDatasetFacet(state.live.id)},
            outputFacets={"outputStatistics": statistics},
        )
    ]


def _measured(workspace: Workspace, state: LakeState) -> list[InputDataset]:
    """Return the candidate's index as what the gate read: OpenLineage has assertions of inputs alone."""
    from openlineage.client.event_v2 import InputDataset
    from openlineage.client.facet_v2 import data_quality_assertions_dataset

    if state.verdict is None:
        return []
    namespace, path = _name_of(workspace.lake.uri(layout.INDEX))
    assertions = [_assertion(check) for check in state.verdict.checks]
    facet = data_quality_assertions_dataset.DataQualityAssertionsDatasetFacet(assertions=assertions)
    return [InputDataset(namespace=namespace, name=path, inputFacets={"dataQualityAssertions": facet})]


def _assertion(check: Check) -> Any:
    from openlineage.client.facet_v2 import data_quality_assertions_dataset

    return data_quality_assertions_dataset.Assertion(
        assertion=check.name,
        success=check.passed,
        severity="warn" if check.accepted else "error",
        expected=str(check.threshold),
        actual=str(check.value),
    )
