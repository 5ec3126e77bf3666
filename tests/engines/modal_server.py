"""A server that speaks what Modal's client asks for when it calls deployed functions.

    python -m tests.engines.modal_server PORT CONTROL_PORT

It serves the gRPC methods of Modal's published protocol that `Function.from_name`, `spawn`,
`FunctionCall.get` and `cancel` use, and runs the functions itself: Python functions of the modules
in `APPS`. What a container of Modal does with values and exceptions, it does with the same
functions of Modal's package. What else the real service does, it does not know.

The public port is that of a proxy, which can go away while functions go on, as Modal does for its
clients when the network is down. Tests control the server over HTTP, on the other port; the large
values that Modal keeps in a blob store are there too.
"""
# ruff: noqa: N802  (the names of the protocol)

import asyncio
import hashlib
import itertools
import socket
import sys
import traceback
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module

from aiohttp import web
from google.protobuf.empty_pb2 import Empty
from grpclib import GRPCError, Status
from grpclib.server import Server
from modal._serialization import (
    deserialize_data_format,
    pickle_exception,
    pickle_traceback,
    serialize_data_format,
)
from modal_proto import api_pb2
from modal_proto.api_grpc import ModalClientBase

from tests.engines.modal_app import ContainerCrash, Overrun

APPS = {"shop": ("tests.engines.functions", "tests.engines.modal_app")}
TOKEN = ("ak-test", "as-test")
CONTAINERS = 4
# Above this, Modal keeps a value of a spawned call in its blob store.
_INLINE_BYTES = 8 * 1024
_TASK = "ta-01J00000000000000000000000"


@dataclass(eq=False)
class FunctionCall:
    id: str
    app: str
    function: str
    input: api_pb2.FunctionInput
    runs: int = 1
    output: api_pb2.FunctionGetOutputsItem | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def end(self, result, data_format=api_pb2.DATA_FORMAT_UNSPECIFIED):
        if self.output is None:
            self.output = api_pb2.FunctionGetOutputsItem(result=result, data_format=data_format)
            self.ended.set()


class Modal(ModalClientBase):
    """The service: its function calls, and the containers that run them."""

    def __init__(self, blob_url):
        self.blob_url = blob_url
        self.blobs = {}
        self.calls = {}
        self.waiting = []
        self.running = 0
        self.is_paused = False
        self.expired = set()
        self.cancelled = []
        self.requests = Counter()
        self.tokens = {TOKEN}
        self.deployment = 0
        self.numbers = itertools.count(1)
        self._threads = ThreadPoolExecutor(CONTAINERS * 2)
        self._tasks = set()

    # --- what the client asks for ---

    async def _receive(self, stream, name):
        self.requests[name] += 1
        metadata = stream.metadata
        token = (metadata.get("x-modal-token-id"), metadata.get("x-modal-token-secret"))
        if token not in self.tokens:
            raise GRPCError(Status.UNAUTHENTICATED, "Token ID is malformed or unknown")
        return await stream.recv_message()

    async def ClientHello(self, stream):
        await self._receive(stream, "ClientHello")
        await stream.send_message(api_pb2.ClientHelloResponse())

    async def FunctionGet(self, stream):
        request = await self._receive(stream, "FunctionGet")
        if self.deployment is None or not self._find(request.app_name, request.object_tag):
            raise GRPCError(
                Status.NOT_FOUND,
                f"No function named '{request.object_tag}' in the app '{request.app_name}'",
            )
        function_id = f"fu-{self.deployment}.{request.app_name}.{request.object_tag}"
        metadata = api_pb2.FunctionHandleMetadata(
            function_name=request.object_tag,
            function_type=api_pb2.Function.FUNCTION_TYPE_FUNCTION,
            max_object_size_bytes=2 * 1024 * 1024,
            max_async_object_size_bytes=_INLINE_BYTES,
            supported_input_formats=[api_pb2.DATA_FORMAT_PICKLE, api_pb2.DATA_FORMAT_CBOR],
            supported_output_formats=[api_pb2.DATA_FORMAT_PICKLE, api_pb2.DATA_FORMAT_CBOR],
        )
        function = api_pb2.FunctionData.RankedFunction(function=api_pb2.Function())
        await stream.send_message(
            api_pb2.FunctionGetResponse(
                function_id=function_id,
                handle_metadata=metadata,
                function=api_pb2.FunctionData(ranked_functions=[function]),
            )
        )

    async def FunctionMap(self, stream):
        request = await self._receive(stream, "FunctionMap")
        (item,) = request.pipelined_inputs
        number = next(self.numbers)
        deployment, app, name = request.function_id.removeprefix("fu-").split(".")
        if deployment != str(self.deployment):
            raise GRPCError(Status.NOT_FOUND, f"Function {request.function_id} was not found")
        call = FunctionCall(f"fc-{number:026}", app, name, item.input)
        self.calls[call.id] = call
        self.waiting.append(call)
        self.dispatch()
        accepted = api_pb2.FunctionPutInputsResponseItem(
            idx=item.idx, input_id=f"in-{number:026}", input_jwt="jwt"
        )
        await stream.send_message(
            api_pb2.FunctionMapResponse(
                function_call_id=call.id, pipelined_inputs=[accepted], function_call_jwt="jwt"
            )
        )

    async def FunctionGetOutputs(self, stream):
        request = await self._receive(stream, "FunctionGetOutputs")
        call = self._call(request.function_call_id)
        with suppress(TimeoutError):
            await asyncio.wait_for(call.ended.wait(), request.timeout)
        self._call(call.id)
        if call.id in self.expired:
            answer = api_pb2.FunctionGetOutputsResponse()
        elif call.output is None:
            answer = api_pb2.FunctionGetOutputsResponse(num_unfinished_inputs=1)
        else:
            answer = api_pb2.FunctionGetOutputsResponse(idxs=[0], outputs=[call.output])
        await stream.send_message(answer)

    async def FunctionCallCancel(self, stream):
        request = await self._receive(stream, "FunctionCallCancel")
        call = self._call(request.function_call_id)
        self.cancelled.append(call.id)
        self.cancel(call)
        await stream.send_message(Empty())

    async def BlobCreate(self, stream):
        await self._receive(stream, "BlobCreate")
        blob_id = f"bl-{next(self.numbers)}"
        urls = api_pb2.UploadUrlList(items=[f"{self.blob_url}/{blob_id}"])
        await stream.send_message(api_pb2.BlobCreateResponse(blob_ids=[blob_id], upload_urls=urls))

    async def BlobGet(self, stream):
        request = await self._receive(stream, "BlobGet")
        await stream.send_message(
            api_pb2.BlobGetResponse(download_url=f"{self.blob_url}/{request.blob_id}")
        )

    def _call(self, call_id):
        if call_id not in self.calls:
            raise GRPCError(Status.NOT_FOUND, f"Function call {call_id} was not found")
        return self.calls[call_id]

    def cancel(self, call):
        if call in self.waiting:
            self.waiting.remove(call)
        terminated = api_pb2.GenericResult.GENERIC_STATUS_TERMINATED
        call.end(api_pb2.GenericResult(status=terminated, exception="Input was cancelled by user"))

    # --- its containers ---

    def dispatch(self):
        """Gives waiting inputs to containers."""
        while self.waiting and self.running < CONTAINERS and not self.is_paused:
            self.running += 1
            task = asyncio.create_task(self._run(self.waiting.pop(0)))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _run(self, call):
        loop = asyncio.get_running_loop()
        try:
            for _ in range(call.runs):
                result, data_format = await loop.run_in_executor(self._threads, self._output, call)
                call.end(result, data_format)
        finally:
            self.running -= 1
            self.dispatch()

    def _output(self, call):
        """Runs a function, and gives its output as a container does."""
        status = api_pb2.GenericResult
        data_format = call.input.data_format
        is_pickle = data_format == api_pb2.DATA_FORMAT_PICKLE
        try:
            sent = self.blobs.get(call.input.args_blob_id, call.input.args)
            args, kwargs = deserialize_data_format(sent, data_format, None)
            value = self._find(call.app, call.function)(*args, **kwargs)
            data = serialize_data_format(value, data_format)
        except ContainerCrash:
            failed = status(
                status=status.GENERIC_STATUS_INTERNAL_FAILURE,
                exception="Runner terminated unexpectedly",
            )
        except Overrun:
            text = "Task's current input hit its timeout of 1s"
            failed = status(status=status.GENERIC_STATUS_TIMEOUT, exception=text)
        except BaseException as exc:
            failed = status(
                status=status.GENERIC_STATUS_FAILURE,
                exception=repr(exc),
                traceback=traceback.format_exc(),
            )
            if is_pickle:
                failed.MergeFrom(self._stored(pickle_exception(exc)))
                failed.serialized_tb, failed.tb_line_cache = pickle_traceback(exc, _TASK)
        else:
            ended = self._stored(data)
            ended.status = status.GENERIC_STATUS_SUCCESS
            return ended, data_format
        return failed, data_format if is_pickle else api_pb2.DATA_FORMAT_UNSPECIFIED

    def _stored(self, data):
        if len(data) <= _INLINE_BYTES:
            return api_pb2.GenericResult(data=data)
        blob_id = f"bl-{next(self.numbers)}"
        self.blobs[blob_id] = data
        return api_pb2.GenericResult(data_blob_id=blob_id)

    def _find(self, app, name):
        modules = [import_module(module) for module in APPS.get(app, ())]
        return next((vars(each)[name] for each in modules if name in vars(each)), None)


def _refused(name):
    async def method(self, stream):
        self.requests[name] += 1
        raise GRPCError(Status.UNIMPLEMENTED, f"the tests' server does not have {name}")

    return method


for _name in Modal.__abstractmethods__:
    setattr(Modal, _name, _refused(_name))
Modal.__abstractmethods__ = frozenset()


class Proxy:
    """Carries bytes between a public port and another one. It can be away, or keep silent."""

    def __init__(self, port, target):
        self.port, self.target = port, target
        self._server = None
        self._writers = set()
        self.flows = asyncio.Event()
        self.flows.set()

    async def up(self):
        if self._server is None:
            self._server = await asyncio.start_server(self._carry, "127.0.0.1", self.port)

    async def down(self):
        if self._server is not None:
            self._server.close()
            for writer in self._writers:
                writer.transport.abort()
            self._server = None

    async def _carry(self, reader, writer):
        other_reader, other_writer = await asyncio.open_connection("127.0.0.1", self.target)
        await asyncio.gather(self._copy(reader, other_writer), self._copy(other_reader, writer))

    async def _copy(self, reader, writer):
        self._writers.add(writer)
        try:
            while data := await reader.read(65536):
                await self.flows.wait()
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()
            self._writers.discard(writer)


class Control:
    """What tests may do to the service, as `POST /<method>` with its arguments as JSON."""

    def __init__(self, modal, proxy):
        self.modal, self.proxy = modal, proxy

    async def pause(self):
        self.modal.is_paused = True

    async def resume(self):
        self.modal.is_paused = False
        self.modal.dispatch()

    async def up(self):
        self.proxy.flows.set()
        await self.proxy.up()

    async def down(self):
        await self.proxy.down()

    async def keep_silent(self):
        self.proxy.flows.clear()

    async def waiting(self):
        return sorted(call.id for call in self.modal.waiting)

    async def repeat(self):
        """Each input that waits will be run twice, as after a container's preemption."""
        for call in self.modal.waiting:
            call.runs = 2

    async def forget(self):
        """Loses all calls: nothing of them is known any more."""
        self.modal.waiting.clear()
        for call in list(self.modal.calls.values()):
            del self.modal.calls[call.id]
            call.ended.set()

    async def expire(self):
        """Drops the outputs, as Modal does a week after they came."""
        self.modal.expired.update(self.modal.calls)

    async def cancel(self):
        """Cancels all calls, as people do on Modal's pages."""
        for call in list(self.modal.calls.values()):
            self.modal.cancel(call)

    async def stop_app(self):
        """Ends the deployment; functions that were looked up before are not known any more."""
        self.modal.deployment = None

    async def deploy(self):
        self.modal.deployment = next(self.modal.numbers)

    async def revoke_token(self):
        self.modal.tokens.clear()

    async def restore_token(self):
        self.modal.tokens.add(TOKEN)

    async def facts(self):
        """Returns what it was asked for."""
        return {
            "requests": self.modal.requests,
            "cancelled": self.modal.cancelled,
            "calls": len(self.modal.calls),
        }

    async def handle(self, request):
        method = getattr(self, request.match_info["method"])
        return web.json_response(await method())

    async def put_blob(self, request):
        data = await request.read()
        self.modal.blobs[request.match_info["blob"]] = data
        return web.Response(headers={"ETag": f'"{hashlib.md5(data).hexdigest()}"'})

    async def get_blob(self, request):
        return web.Response(body=self.modal.blobs[request.match_info["blob"]])


async def serve(port, control_port):
    modal = Modal(f"http://127.0.0.1:{control_port}/blobs")
    # With its protocol: only then grpclib sets TCP_NODELAY, without which each answer takes 40 ms.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    server = Server([modal])
    await server.start(sock=listening)
    proxy = Proxy(port, listening.getsockname()[1])
    await proxy.up()
    control = Control(modal, proxy)
    app = web.Application(client_max_size=2**26)
    app.router.add_put("/blobs/{blob}", control.put_blob)
    app.router.add_get("/blobs/{blob}", control.get_blob)
    app.router.add_post("/{method}", control.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", control_port).start()
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(*map(int, sys.argv[1:])))
