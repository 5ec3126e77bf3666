"""The second workflow of the demo, which waits until a person answers in the admin."""

from urllib.parse import quote

from django.conf import settings
from django.urls import reverse

from durable_monty import OrchestratorService, codec
from durable_monty.models import Call, Execution, ExecutionStatus
from example_project.videos.demo import runs
from example_project.videos.demo.children import HOST, Child, await_site
from example_project.videos.demo.display import Display, Part
from example_project.videos.demo.preparation import ADMIN
from example_project.videos.demo.progress import is_over
from example_project.videos.files import media_path


class Approval:
    """Asks for the approval. `children` are the worker and the site, which listens on `port`."""

    def __init__(
        self, display: Display, children: list[Child], port: int, password: str | None
    ) -> None:
        self.display, self.children = display, children
        self.port, self.password = port, password

    def ask(self, execution: Execution) -> None:
        """Runs until Ctrl-C. `execution` is a completed encoding, or a review that waits."""
        review = execution if execution.name == runs.REVIEW else runs.start_review(execution)
        try:
            self._await_answer(review)
            self.display.say(f"Worker and site ({self._url('/')}) go on until Ctrl-C.")
            while True:
                runs.pause(self.children)
        except KeyboardInterrupt:
            self.display.say()
            if not is_over(review):
                self.display.say("The review waits, for weeks if need be:")
                self.display.hint("demo --serve --resume", "comes back to it")

    def _await_answer(self, review: Execution) -> None:
        with self.display.busy("Starting the site"):
            await_site(self.children[-1], self.port)
            call = runs.approval_call(review, self.children)
        if call is not None:
            self._invite(review, call)
            with self.display.busy("Waiting for your answer"):
                runs.await_end(review, self.children)
            call.refresh_from_db()
        self.display.say()
        if review.status == ExecutionStatus.COMPLETED and call is not None:
            self.display.success(f"{review.name} completed", f": {verdict(review, call)}.")
        else:
            error = f"{review.error_type}: {review.error_message}".strip(": ")
            self.display.say(f"{review.name} {review.status}. {error}")

    def _invite(self, review: Execution, call: Call) -> None:
        package = media_path(codec.decode(review.inputs)["package"])
        name = quote(package.relative_to(media_path("")).as_posix())
        self.display.say()
        self.display.say(f"{review.name} waits for a person: approve the package, or not.")
        self.display.fact("Look", self._url(f"/{settings.MEDIA_URL.strip('/')}/{name}"))
        answer = self._url(reverse("admin:durable_monty_call_change", args=[call.pk]))
        self.display.fact("Answer", (answer, "bold"), " with true or false")
        self.display.fact("As", *login(self.password))

    def _url(self, path: str) -> str:
        return f"http://{HOST}:{self.port}{path}"


def verdict(review: Execution, call: Call) -> str:
    status = OrchestratorService().get_result(review.pk)["status"]
    return f"{status} by {call.completed_by_name}" if call.completed_by_name else str(status)


def login(password: str | None) -> list[Part]:
    if password is None:
        return [f"user {ADMIN}, its password as before", (" (--reset-password: a new one)", "dim")]
    return [f"user {ADMIN}, password ", (password, "bold")]
