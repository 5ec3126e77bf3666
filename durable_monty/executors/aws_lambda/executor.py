"""Calls that AWS Lambda runs: `durable_monty/docs/how-to/aws-lambda.md`."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

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

from durable_monty import codec, conf
from durable_monty.exceptions import CorruptValue, RequestTooLarge
from durable_monty.executors.call_body import body_of
from durable_monty.executors.requests.base import Exchange, Reply, RequestExecutor
from durable_monty.executors.requests.failures import RequestFailed, type_named

if TYPE_CHECKING:
    from durable_monty.models import Call

Invocation = Literal["sync", "event"]

# Bytes of a payload, as the API's documentation has them.
_LIMITS = {"sync": 6 * 2**20, "event": 2**20}
_TYPES = {"sync": "RequestResponse", "event": "Event"}
# The runtime's and the service's words for a result that did not get through.
_UNSENDABLE = {"Runtime.MarshalError", "Function.ResponseSizeTooLarge"}
# Seconds of the first and the longest pause while Lambda has no room, give or take a half.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0


class LambdaExecutor(RequestExecutor):
    """Invokes a Lambda function for each call.

    Its name or ARN is `functions[name]`, or `prefix` with the function's name behind it. With
    `invocation="sync"` the function's result is in the response; with `"event"` the function posts
    it to the webhook, which needs `callback_base_url`. `timeout`: seconds that an invocation may
    take in all, for functions without `start_to_close`; Lambda's own limit is 900. Credentials,
    and the region if it is not given, are found as boto3 finds them.
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
        timeout: float = 905.0,
        connect_timeout: float = 5.0,
        callback_base_url: str | None = None,
        callback_timeout: float = 86_400.0,
    ) -> None:
        super().__init__(
            concurrency,
            timeout=timeout,
            connect_timeout=connect_timeout,
            callback_base_url=callback_base_url,
            callback_timeout=callback_timeout,
        )
        if invocation not in _TYPES:
            raise ValueError(f"invocation is {invocation!r}; use 'sync' or 'event'")
        if invocation == "event" and callback_base_url is None:
            raise ValueError("invocation='event' needs callback_base_url, for the answers")
        self._functions, self._prefix = dict(functions or {}), prefix
        self._invocation, self._endpoint_url = invocation, endpoint_url
        self._region, self._qualifier = region, qualifier
        self._session = boto3.session.Session(region_name=region)
        self._clients: dict[float, Any] = {}
        self._lock = threading.Lock()

    def start(self, using: str, worker_id: int | None) -> None:
        """Raises `ImproperlyConfigured` without a region or credentials: no call could succeed."""
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
        self._client(self.timeout)  # the first one takes its time

    def _client(self, seconds: float) -> Any:
        """The client whose invocations may take so long: in boto3 it is the client's time-out."""
        with self._lock:
            if seconds not in self._clients:
                config = Config(
                    connect_timeout=self.connect_timeout,
                    read_timeout=seconds,
                    max_pool_connections=self.concurrency,
                    # Our policy decides: boto3 would run a slow function again behind its back.
                    retries={"total_max_attempts": 1},
                    tcp_keepalive=True,
                )
                self._clients[seconds] = self._session.client(
                    "lambda", endpoint_url=self._endpoint_url, config=config
                )
            return self._clients[seconds]

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
        response = self._invoke(call, arguments, exchange)
        if self._invocation == "event":
            return Reply(accepted=True)
        size = conf.current().MAX_VALUE_BYTES
        body = response["Payload"].read(size + 1)
        if "FunctionError" in response:
            raise _failure(call.function, body)
        if len(body) > size:
            raise RequestFailed(
                "TypeError",
                f"{call.function}() returned what cannot be stored: it has more than {size:,} "
                "bytes (DURABLE_MONTY['MAX_VALUE_BYTES']).",
                is_final=True,
            )
        return Reply(_value(call.function, body))

    def _invoke(self, call: Call, arguments: Mapping[str, Any], exchange: Exchange) -> Any:
        """Invokes it, as soon as Lambda has room: what it throttles has not run."""
        client, pause = self._client(exchange.seconds), _FIRST_PAUSE
        while True:
            try:
                return client.invoke(**arguments)
            except ClientError as exc:
                failure = _refusal(call.function, exc)
                if not _is_throttled(exc) or exchange.left <= pause or exchange.is_cut:
                    raise failure from exc
                exchange.pause(max(pause * random.uniform(0.5, 1.5), failure.retry_after or 0.0))
                pause = min(_LONGEST_PAUSE, 2 * pause)
            except (ConnectTimeoutError, ReadTimeoutError) as exc:
                raise TimeoutError(f"Lambda did not answer for {call.function}(): {exc}") from exc
            except (UnreachableError, HTTPClientError) as exc:
                raise ConnectionError(
                    f"The invocation of {call.function}() failed: {exc}"
                ) from exc
            except BotoCoreError as exc:
                raise RequestFailed("RuntimeError", f"{call.function}(): {exc}") from exc


def _is_throttled(exc: ClientError) -> bool:
    return _status(exc) == 429


def _status(exc: ClientError) -> int:
    return int(exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500))


def _refusal(function: str, exc: ClientError) -> RequestFailed:
    """Lambda did not run the function. Of the client's errors only a conflict may pass."""
    status, found = _status(exc), exc.response.get("Error", {})
    headers = exc.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    seconds = headers.get("retry-after", "")
    return RequestFailed(
        found.get("Code") or "RuntimeError",
        f"Lambda refused the invocation of {function}(): {found.get('Message') or exc}",
        is_final=400 <= status < 500 and status not in (409, 429),
        retry_after=float(seconds[:10]) if seconds.isascii() and seconds.isdecimal() else None,
    )


def _failure(function: str, body: bytes) -> RequestFailed:
    """What the function raised, as Lambda's runtimes write it down."""
    try:
        found = json.loads(body)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        text = body[:500].decode(errors="replace")
        return RequestFailed("RuntimeError", f"{function}() failed: {text}")
    kind, message = found.get("errorType"), str(found.get("errorMessage", ""))
    if "Task timed out" in message or kind == "Sandbox.Timedout":
        kind = "TimeoutError"
    elif kind in _UNSENDABLE:
        message = f"{function}() returned what cannot be stored: {message}"
        return RequestFailed("TypeError", message, is_final=True)
    lines = found.get("stackTrace") or found.get("trace")
    return RequestFailed(
        type_named(kind),
        message,
        traceback="".join(f"{str(line).rstrip()}\n" for line in lines)
        if isinstance(lines, list)
        else "",
    )


def _value(function: str, body: bytes) -> Any:
    try:
        return codec.decode(body.decode().strip() or "null")
    except (CorruptValue, UnicodeDecodeError) as exc:
        raise RequestFailed("TypeError", f"{function}() returned what is no JSON: {exc}") from exc
