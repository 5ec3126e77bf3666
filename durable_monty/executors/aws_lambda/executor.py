from __future__ import annotations

import json
import random
import threading
from collections.abc import Mapping
from typing import Any, Literal, Unpack

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError as UnreachableError,
    ConnectTimeoutError,
    HTTPClientError,
    ReadTimeoutError,
)
from django.core.exceptions import ImproperlyConfigured

from durable_monty import conf
from durable_monty.exceptions import RequestTooLarge
from durable_monty.executors.aws_lambda.replies import (
    failure_of,
    refusal_of,
    status_of,
    value_of,
)
from durable_monty.executors.requests.base import RequestExecutor, RequestOptions
from durable_monty.executors.requests.body import body_of
from durable_monty.executors.requests.exchange import Exchange, Reply
from durable_monty.executors.requests.failures import RequestFailed
from durable_monty.models import Call

Invocation = Literal["sync", "event"]

# Bytes of a payload that Lambda's API takes.
_LIMITS = {"sync": 6 * 2**20, "event": 2**20}
_TYPES = {"sync": "RequestResponse", "event": "Event"}
# Seconds of the first and the longest pause while Lambda throttles, give or take a half.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0


class LambdaExecutor(RequestExecutor):
    """Invokes a Lambda function for each call.

    The name or ARN of the Lambda function is `functions[name]`, or `prefix` followed by the
    function's name. With `invocation="sync"` the result is in the response. With `"event"` the
    function posts it to the webhook, which needs `callback_base_url`. Credentials, and the region
    if it is not given, are found as boto3 finds them.
    """

    name = "aws_lambda"

    def __init__(
        self,
        concurrency: int = 20,
        *,
        functions: Mapping[str, str] | None = None,
        prefix: str = "",
        invocation: Invocation = "sync",
        endpoint_url: str | None = None,
        region: str | None = None,
        qualifier: str | None = None,
        timeout: float = 905.0,  # Lambda's own limit is 900
        **options: Unpack[RequestOptions],
    ) -> None:
        super().__init__(concurrency, timeout=timeout, **options)
        if invocation not in _TYPES:
            raise ValueError(f"invocation is {invocation!r}; use 'sync' or 'event'")
        if invocation == "event" and self.callback_base_url is None:
            raise ValueError("invocation='event' needs callback_base_url, for the answers")
        self._functions, self._prefix = dict(functions or {}), prefix
        self._invocation, self._endpoint_url = invocation, endpoint_url
        self._qualifier = qualifier
        self._session = boto3.session.Session(region_name=region)
        self._clients: dict[float, Any] = {}
        self._lock = threading.Lock()

    def start(self, using: str, worker_id: int | None) -> None:
        """Raises `ImproperlyConfigured` without a region or credentials: every call would fail."""
        super().start(using, worker_id)
        if self._session.region_name is None:
            raise ImproperlyConfigured(
                "The executor 'aws_lambda' has no region: give it the option region, or set "
                "AWS_DEFAULT_REGION."
            )
        if self._session.get_credentials() is None:
            raise ImproperlyConfigured(
                "The executor 'aws_lambda' finds no AWS credentials, in none of the places where "
                "boto3 looks for them."
            )
        self._client(self.timeout)  # making the first client takes long

    def request(self, call: Call, job_id: str, exchange: Exchange) -> Reply:
        payload = json.dumps(body_of(call, job_id, self.callback_url(call))).encode()
        limit = _LIMITS[self._invocation]
        if len(payload) > limit:
            raise RequestTooLarge(call.function, len(payload), limit)
        arguments = {
            "FunctionName": self._functions.get(call.function, self._prefix + call.function),
            "InvocationType": _TYPES[self._invocation],
            "Payload": payload,
        }
        if self._qualifier is not None:
            arguments["Qualifier"] = self._qualifier
        response = self._invoke(call.function, arguments, exchange)
        if self._invocation == "event":
            return Reply(accepted=True)
        size = conf.current().MAX_VALUE_BYTES
        body = response["Payload"].read(size + 1)
        if "FunctionError" in response:
            raise failure_of(call.function, body)
        if len(body) > size:
            response["Payload"].close()  # with the rest, which nothing reads
            raise RequestFailed.too_large(call.function)
        return Reply(value_of(call.function, body))

    def _invoke(self, function: str, arguments: Mapping[str, Any], exchange: Exchange) -> Any:
        """Invokes the Lambda function, and waits while Lambda throttles."""
        client, pause = self._client(exchange.seconds), _FIRST_PAUSE
        while True:
            try:
                return client.invoke(**arguments)
            except ClientError as exc:
                failure = refusal_of(function, exc)
                # A throttled function has not run: trying again here costs no attempt.
                if status_of(exc) != 429 or exchange.left <= pause or exchange.is_cut:
                    raise failure from exc
                exchange.pause(max(pause * random.uniform(0.5, 1.5), failure.retry_after or 0.0))
                pause = min(_LONGEST_PAUSE, 2 * pause)
            except (ConnectTimeoutError, ReadTimeoutError) as exc:
                raise TimeoutError(f"Lambda did not answer for {function}(): {exc}") from exc
            except (UnreachableError, HTTPClientError) as exc:
                raise ConnectionError(f"The invocation of {function}() failed: {exc}") from exc
            except BotoCoreError as exc:
                raise RequestFailed("RuntimeError", f"{function}(): {exc}") from exc

    def _client(self, seconds: float) -> Any:
        """Returns the client whose invocations may take `seconds`."""
        # In boto3 the time-out of a request is the client's.
        with self._lock:
            if seconds not in self._clients:
                config = Config(
                    connect_timeout=self.connect_timeout,
                    read_timeout=seconds,
                    max_pool_connections=self.concurrency,
                    # The function's retry policy decides: boto3 would run a slow function again.
                    retries={"total_max_attempts": 1},
                    tcp_keepalive=True,
                )
                self._clients[seconds] = self._session.client(
                    "lambda", endpoint_url=self._endpoint_url, config=config
                )
            return self._clients[seconds]
