"""Starts the two workflows of the demo, finds them again, and follows them to their end."""

import time
from collections.abc import Collection, Iterable
from pathlib import Path

from django.core.management.base import CommandError

from durable_monty import OrchestratorService
from durable_monty.models import Call, Execution, ExecutionStatus
from example_project.videos.demo.children import Child
from example_project.videos.demo.display import Display
from example_project.videos.demo.preparation import placed
from example_project.videos.demo.progress import Progress, is_over, read_progress, shown
from example_project.videos.workflows import encode_episode, review_episode

ENCODE, REVIEW = encode_episode.name, review_episode.name

# Seconds between two looks at the database.
LOOK = 0.1


def start_encoding(clips: Iterable[Path], quality: str, folder: Path) -> Execution:
    execution_id = encode_episode.start([placed(clip, folder) for clip in clips], quality)
    return Execution.objects.get(pk=execution_id)


def start_review(encoding: Execution) -> Execution:
    """Starts the review of an encoding. Its key makes it the only one, however often the demo is
    resumed."""
    service = OrchestratorService()
    review = review_episode.options(key=f"review of {encoding.pk}")
    review_id = review.start(service.get_result(encoding.pk))
    return Execution.objects.get(pk=review_id)


def newest_unfinished(names: Collection[str]) -> Execution:
    """Returns the newest unfinished execution of these names, or raises CommandError."""
    execution = Execution.objects.unfinished().filter(name__in=names).order_by("-pk").first()
    if execution is None:
        raise CommandError(f"There is nothing to resume: no {' or '.join(names)} is unfinished.")
    if execution.status == ExecutionStatus.PAUSED:
        OrchestratorService().resume_execution(execution.pk)
    return execution


def follow(
    execution: Execution, children: list[Child], display: Display, timeout: float
) -> Progress:
    """Shows the progress until the execution is over. Raises CommandError if a child process ends
    or the time is over."""
    deadline = time.monotonic() + timeout
    with display.live() as live:
        while True:
            progress = read_progress(execution.pk)
            live.update(shown(progress), refresh=True)
            if is_over(progress.execution):
                return progress
            if time.monotonic() > deadline:
                raise CommandError(
                    f"{ENCODE} was still {progress.execution.status} after {timeout:g} s "
                    "(--timeout). demo --resume goes on with it."
                )
            pause(children)


def approval_call(review: Execution, children: list[Child]) -> Call | None:
    """Waits for the call that a person must answer. Returns None if the review is over."""
    while True:
        review.refresh_from_db()
        call = review.calls.waiting_for_people().first()
        if call is not None or is_over(review):
            return call
        pause(children)


def await_end(execution: Execution, children: list[Child]) -> None:
    while not is_over(execution):
        pause(children)
        execution.refresh_from_db()


def pause(children: list[Child]) -> None:
    for child in children:
        child.check()
    time.sleep(LOOK)
