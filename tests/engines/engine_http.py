from contextlib import ExitStack

from tests.engines.conformance import WorkerEngine
from tests.engines.pages import answer_call, serve_view
from tests.engines.services import ServiceProcess

SECRET = "shared with the service"


class RequestEngine(WorkerEngine):
    """A service that is asked for each call: there is no broker between, and the executor's own
    process is what may be killed."""

    mode = "result"
    keeps_types = True
    may_lack_functions = True
    in_thread = True
    arguments = ()


class HttpEngine(RequestEngine):
    name = executor = "http"
    extra = "httpcore"
    path = "functions"

    def __init__(self):
        self.server = None

    def options(self):
        return {
            "base_url": f"{self.server.url}/{self.path}",
            "allowed_hosts": [f"127.0.0.1:{self.server.port}"],
            "allow_http": True,
            "allow_private": True,
            "secret": ["the next one", SECRET],
        }

    def start(self, directory):
        self.server = ServiceProcess(directory, "tests.engines.http_server", "0", SECRET)
        self.server.start()

    def stop(self):
        if self.server is not None:
            self.server.kill()


class LaterEngine(HttpEngine):
    """The service accepts each call, and posts its answer to the webhook, which this process
    serves. What was accepted does not depend on workers."""

    name = "http_later"
    path = "later"
    has_workers = False

    def __init__(self):
        super().__init__()
        self._stack = ExitStack()

    def options(self):
        return {**super().options(), "callback_base_url": self._webhook}

    def start(self, directory):
        self._webhook = self._stack.enter_context(serve_view(answer_call))
        super().start(directory)

    def stop(self):
        super().stop()
        self._stack.close()


ENGINES = [HttpEngine(), LaterEngine()]
