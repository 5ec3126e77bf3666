from tests.engines.conformance import WorkerEngine

ENGINES = [WorkerEngine("local", in_thread=True), WorkerEngine("django_q")]
