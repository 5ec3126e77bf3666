import os

import pytest

from tests.engines.engine_http import RequestEngine
from tests.engines.lambda_endpoint import FUNCTION
from tests.engines.services import ServiceProcess

# The endpoint does not look at them.
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "tests", "AWS_SECRET_ACCESS_KEY": "tests"}


class LambdaEngine(RequestEngine):
    name = executor = "aws_lambda"
    extra = "boto3"

    def __init__(self):
        self.endpoint, self._environ = None, None

    def options(self):
        return {
            "prefix": f"{FUNCTION}-",
            "endpoint_url": self.endpoint.url,
            "region": "eu-central-1",
            "qualifier": "live",
        }

    def start(self, directory):
        pytest.importorskip("awslambdaric")
        self._environ = dict(os.environ)
        os.environ.update(CREDENTIALS)
        self.endpoint = ServiceProcess(directory, "tests.engines.lambda_endpoint", "4", "10")
        self.endpoint.start()

    def stop(self):
        if self.endpoint is not None:
            self.endpoint.kill()
        for name in CREDENTIALS if self._environ is not None else ():
            os.environ.pop(name)
            if name in self._environ:
                os.environ[name] = self._environ[name]


ENGINES = [LambdaEngine()]
