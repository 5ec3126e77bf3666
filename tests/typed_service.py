"""What type checkers see of the service; mypy reads this file, nobody runs it."""

from typing import Any, assert_type

from durable_monty import OrchestratorService


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
