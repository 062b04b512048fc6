"""The verbs that answer questions from the published index: `ask`, `feedback`, `rag-eval`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trichord.infra import log
from trichord.pipelines.cli.options import DEFAULT_PROJECT, Json, Overrides, ProjectFile, open_project, print_result

rag_app = typer.Typer()


@rag_app.command()
def ask(
    question: Annotated[str, typer.Argument(help="The question.")],
    image: Annotated[Path | None, typer.Option(help="Picture that the question is about.")] = None,
    audio: Annotated[Path | None, typer.Option(help="Sound that the question is about.")] = None,
    project: ProjectFile = DEFAULT_PROJECT,
    set_: Overrides = None,
    as_json: Json = False,
) -> None:
    """Answer a question from the published index, and cite the sources."""
    from trichord.pipelines.cli import render_rag
    from trichord.pipelines.rag.answer import ask as job

    workspace = open_project(project, set_, as_json)
    print_result(job(workspace, question, image=image, audio=audio), as_json, render_rag.answer)


@rag_app.command()
def feedback(
    answer: Annotated[str, typer.Argument(metavar="ANSWER", help="The answer's id, which `ask` prints.")],
    rating: Annotated[int, typer.Option(min=-1, max=1, help="-1 bad, 0 neither, 1 good.")],
    comment: Annotated[str, typer.Option(help="Reason for the rating.")] = "",
    project: ProjectFile = DEFAULT_PROJECT,
    set_: Overrides = None,
    as_json: Json = False,
) -> None:
    """Rate an answer; `rag-eval` includes the ratings."""
    from trichord.pipelines.cli import render_rag
    from trichord.pipelines.rag.feedback import give_feedback

    row = give_feedback(open_project(project, set_, as_json), answer, rating, comment)
    print_result(row, as_json, render_rag.feedback)


@rag_app.command("rag-eval")
def rag_eval(
    questions: Annotated[
        Path, typer.Argument(help="JSONL file with fields question, relevant (keys) and references (answers).")
    ],
    project: ProjectFile = DEFAULT_PROJECT,
    set_: Overrides = None,
    as_json: Json = False,
) -> None:
    """Measure retrieval and answers on questions with known answers; include users' ratings."""
    from trichord.pipelines.cli import render_rag
    from trichord.pipelines.rag.evaluate import evaluate_rag, refuse_below

    workspace = open_project(project, set_, as_json)
    with log.progress("rag-eval"):
        result = evaluate_rag(workspace, questions)
    print_result(result, as_json, render_rag.evaluation)
    refuse_below(result.figures(), workspace.project.rag.least)
