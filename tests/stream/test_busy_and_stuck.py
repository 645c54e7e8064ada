"""What clients and whoever watches the server are told of an engine that is busy, and of one that makes no progress."""

import asyncio
import json
import threading
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from starlette.requests import Request

from sottovoce.stream.admission import Admission
from sottovoce.stream.call import Service
from sottovoce.stream.client_messages import Start
from sottovoce.stream.engine import ECHO, KINDS, EchoEngine, Work
from sottovoce.stream.loop import EngineLoop
from sottovoce.stream.server import STALLED_S, ServerOptions, health, make_service
from sottovoce.stream.server_messages import Error, Started
from support import fake_socket
from support.fake_socket import FakeSocket, until
from support.timed import FakeClock


def test_a_client_beyond_what_is_served_in_time_is_told_when_to_come_again() -> None:
    """Rows are free, time is not."""

    async def use(service: Service, socket: FakeSocket, call: asyncio.Task[None]) -> None:
        assert service.loop.rows >= 2
        service.loop._admission = slow = Admission(ECHO.frame_ms / 1000)
        for kind in KINDS:
            slow.times.add(kind, 1, 0.3 * ECHO.frame_ms / 1000)
        socket.say(Start("loopback"))
        await until(lambda: bool(socket.of(Started)))
        second = FakeSocket()
        second.say(Start("loopback"))
        await fake_socket.connect(service, second)
        error = second.sent[-1]
        assert isinstance(error, Error)
        assert (error.code, error.retry_ms, second.closed) == ("no_slot", 1000, 1013)
        assert error.message == "the engine is busy with 1 sessions; try again"
        socket.leave()
        await call

    fake_socket.run(use, EchoEngine(2))


class _Stuck(EchoEngine):
    """Its steps wait for a gate."""

    def __init__(self) -> None:
        super().__init__(1)
        self.gate = threading.Event()

    def step(self, work: Sequence[Work]) -> list[Any]:
        assert self.gate.wait(30)
        return super().step(work)


def test_a_step_that_is_not_answered_turns_health_to_503_until_it_is() -> None:
    clock, engine = FakeClock(), _Stuck()

    async def told(service: Any) -> tuple[int, dict[str, Any]]:
        answer = await health(cast(Request, None), service)
        return answer.status_code, json.loads(bytes(answer.body))

    async def main() -> None:
        async with EngineLoop(engine, clock) as loop:
            service = make_service(loop, ServerOptions())
            with loop.open() as session:
                step = asyncio.create_task(session.step("mel", np.zeros(ECHO.frame_samples, np.float32), 0.0))
                await asyncio.sleep(0)
                clock.sleep(STALLED_S - 1)
                assert (await told(service))[0] == 200
                clock.sleep(2)
                status, body = await told(service)
                assert status == 503
                assert body["status"] == "stalled"
                assert body["reason"] == f"a step has not been answered for {STALLED_S + 1:.0f} s"
                engine.gate.set()
                await step
                assert (await told(service)) == (200, {"status": "ok", "rows": 1, "rows_taken": 1})

    asyncio.run(main())
