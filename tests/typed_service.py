"""What type checkers see of the service; mypy reads this file, nobody runs it."""

from typing import Any, assert_type

from durable_monty import OrchestratorService, workflow


async def see(service: OrchestratorService, execution_id: str) -> None:
    assert_type(await service.astart_execution("1", ["add"], {"x": 1}, key="k"), str)
    assert_type(service.poll(execution_id), dict[str, Any])
    assert_type(service.poll(), list[dict[str, Any]])
    assert_type(await service.apoll(execution_id), dict[str, Any])
    assert_type(await service.apoll(), list[dict[str, Any]])
    assert_type(await service.aget_pending_calls(execution_id), list[dict[str, Any]])
    assert_type(await service.acomplete_call(execution_id, 0, True, reason="wet"), None)
    assert_type(await service.aretry_execution(execution_id), str)
    assert_type(await service.await_(execution_id, timeout=3), Any)
    await service.acomplete_call(execution_id, "0", True)  # type: ignore[arg-type]
    await service.afail_call(execution_id, 0)  # type: ignore[call-arg]


@workflow
async def refund(number: int, *, reason: str = "") -> bool:
    return number > 1


@workflow(name="other")
async def other(number: int) -> str:
    return await other(number)


async def start(service: OrchestratorService) -> None:
    assert_type(refund.start(7, reason="wet"), str)
    assert_type(await refund.astart(7), str)
    assert_type(refund.options(key="k", label="l").start(number=7), str)
    assert_type(await refund.options(using="default").astart(7), str)
    assert_type(service.start(refund, 7), str)
    assert_type(service.start("refund", 7, anything=True), str)
    assert_type(await service.astart(refund, 7), str)
    assert_type(await service.astart("refund", anything=True), str)
    assert_type(await refund(7), bool)
    assert_type(await other(7), str)
    refund.start("7")  # type: ignore[arg-type]
    refund.start()  # type: ignore[call-arg]
    refund.options().start(7, raeson="")  # type: ignore[call-arg]
    await refund.astart("7")  # type: ignore[arg-type]
    service.start(refund, "7")  # type: ignore[call-overload]
    await other("7")  # type: ignore[arg-type]
