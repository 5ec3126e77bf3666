import sys
import threading
from pathlib import Path

from tests.engines.brokers import redis_server
from tests.engines.conformance import Engine, environment
from tests.processes import ROOT, Program

_QUEUE = "conformance"
_RQ = Path(sys.executable).with_name("rq")


class RQEngine(Engine):
    """Two RQ workers on a Redis of their own. In the mode "result" they know nothing of Django.

    A worker of RQ ends when it loses Redis while it works: a supervisor starts it again.
    """

    executor = "rq"
    extra = "rq"

    def __init__(self, mode):
        self.name, self.mode = f"rq-{mode}", mode
        self._frame = self._redis = None

    def options(self):
        # The workers send a heartbeat each second.
        return {
            "queue_name": _QUEUE,
            "url": self._redis.url,
            "mode": self.mode,
            "poll": 1.0,
            "lost_after": 3,
        }

    def start(self, directory):
        self._frame = redis_server(directory / "redis")
        self._redis = self._frame.__enter__()
        if self.mode == "django":
            where = ("--config", "durable_monty.executors.rq_worker")
            env = environment(EXECUTORS={"rq": self.options()})
        else:
            where = (_QUEUE, "--url", self._redis.url, "--path", ROOT)
            env = {"DJANGO_SETTINGS_MODULE": "nowhere"}
        self._workers = Supervisor(
            directory,
            *(_RQ, "worker", "--serializer", "json", "--job-monitoring-interval", "1", *where),
            env=env,
        )
        self.start_workers()

    def stop(self):
        if self._redis is not None:
            self._workers.kill()
            self._frame.__exit__(None, None, None)

    def reset(self):
        self.start_broker()
        self._client().delete(f"rq:queue:{_QUEUE}")
        self.start_workers()

    def start_workers(self):
        self._workers.start()

    def stop_workers(self):
        self._workers.stop()

    def kill_workers(self):
        self._workers.kill()

    def stop_broker(self):
        self._redis.stop()

    def start_broker(self):
        if self._redis.process is None:
            self._redis.start()

    def waiting_jobs(self):
        return [each.decode() for each in self._client().lrange(f"rq:queue:{_QUEUE}", 0, -1)]

    def forget_jobs(self):
        self._client().flushall()

    def repeat_jobs(self):
        self._client().rpush(f"rq:queue:{_QUEUE}", *self.waiting_jobs())

    def _client(self):
        import redis

        return redis.Redis.from_url(self._redis.url)


class Supervisor:
    """Keeps RQ workers alive, as systemd would, until they are to end."""

    def __init__(self, directory, *command, env, count=2):
        self._directory, self._command, self._env = directory, command, env
        self._count, self._begun = count, 0
        self._programs = []
        self._lock, self._ended = threading.Lock(), threading.Event()
        self._ended.set()

    def start(self):
        if self._ended.is_set():
            self._ended.clear()
            self._replace()
            threading.Thread(target=self._watch, daemon=True).start()
        for program in list(self._programs):
            program.until_logged("Listening on")

    def stop(self):
        """SIGTERM: each ends what it does."""
        for program in self._end():
            program.popen.terminate()
            program.ends(0)

    def kill(self):
        for program in self._end():
            program.end()

    def _end(self):
        self._ended.set()
        with self._lock:
            programs, self._programs = self._programs, []
        return programs

    def _watch(self):
        while not self._ended.wait(0.1):
            self._replace()

    def _replace(self):
        with self._lock:
            if self._ended.is_set():
                return
            for program in self._programs:
                if program.popen.poll() is not None:
                    program.end()
            alive = [each for each in self._programs if each.popen.poll() is None]
            while len(alive) < self._count:
                self._begun += 1
                log = self._directory / f"worker-{self._begun}.log"
                alive.append(Program(log, *self._command, env=self._env))
            self._programs = alive


ENGINES = [RQEngine("django"), RQEngine("result")]
