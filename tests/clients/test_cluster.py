"""``sottovoce serve --cluster``: replicas on a Ray of this machine, as a person runs them, and one of them killed."""

import asyncio
import importlib.util
import json
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import InvalidStatus

from sottovoce.clients.client import Client
from sottovoce.clients.clusters import gpus, replicas
from sottovoce.stream.engine import ECHO, EchoEngine
from sottovoce.stream.errors import ConnectionFailed, ServeError
from sottovoce.stream.frames import Pcm
from sottovoce.stream.server import ServerOptions
from support import program
from support.conversation import noise
from support.program import refused
from support.serving import get, health, open_socket

N = ECHO.frame_samples
ROWS = 2
PORT = 8765
TOKEN = "s3cret-token"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
START = '{"type":"start","mode":"loopback","in":{"kind":"pcm","format":"s16le"},"out":{"kind":"pcm","format":"s16le"}}'
RAY = importlib.util.find_spec("ray") is not None
needs_ray = pytest.mark.skipif(not RAY, reason="needs the extra 'cluster'")


class Cluster:
    """The program, and where it is."""

    def __init__(self, process: subprocess.Popen[str], place: str) -> None:
        self.process = process
        self.place = place

    def client(self) -> Client:
        return Client(f"ws://{self.place}", TOKEN, patience_s=30.0)

    def pids(self) -> list[int]:
        """Of its replicas: Ray's processes of that name, under ours."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                named = (folder / "cmdline").read_bytes().startswith(b"ray::ServeReplica:")
            except OSError:  # it is gone
                continue
            if named and self.process.pid in ancestors(int(folder.name)):
                found.append(int(folder.name))
        return found

    async def rows_taken(self) -> list[int]:
        """By replica, as ``/metrics`` tells, most first."""
        _, text = await get(self.place, "/metrics", **BEARER)
        lines = [line for line in text.splitlines() if line.startswith("sottovoce_rows_taken{")]
        assert len({line.partition("}")[0] for line in lines}) == len(lines)
        return sorted((int(float(line.split()[-1])) for line in lines), reverse=True)

    async def until(self, *rows_taken: int) -> None:
        """A test that waits in vain runs into its timeout."""
        while await self.rows_taken() != list(rows_taken):  # noqa: ASYNC110 - it is in other processes
            await asyncio.sleep(0.2)  # nobody may ask more often


def ancestors(pid: int) -> list[int]:
    found = []
    while pid > 1:
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            break
        found.append(pid)
    return found


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    if not Path("/proc/self/stat").exists():
        pytest.skip("finds the replicas in /proc")
    arguments = ("--cluster", "--backend", "echo", "--replicas", "2", "--rows", ROWS, "--port", "0")
    began_s = time.monotonic()
    with subprocess.Popen(
        program.command("serve", *arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"SOTTOVOCE_TOKEN": TOKEN},
        preexec_fn=program.interruptible,
    ) as serving:
        assert serving.stdout is not None
        line = serving.stdout.readline()
        print(f"ready after {time.monotonic() - began_s:.1f} s")
        try:
            assert line.startswith("sottovoce serves a cluster at http://127.0.0.1:"), serving.communicate()
            yield Cluster(serving, line.split()[5].removeprefix("http://"))
            serving.send_signal(signal.SIGTERM)
            rest, complaints = serving.communicate(timeout=30)
            assert serving.returncode == 143
            assert rest == ""
            assert complaints.endswith("sottovoce: interrupted\n")
        finally:
            serving.kill()


async def begun(cluster: Cluster) -> tuple[ClientConnection, dict[str, object]]:
    """A session that has asked for a row, and the answer."""
    socket = await open_socket(cluster.place, **BEARER)
    await socket.recv()  # hello
    await socket.send(START)
    return socket, json.loads(await socket.recv())


@needs_ray
def test_the_addresses_of_a_server_are_those_of_a_cluster(cluster: Cluster) -> None:
    async def main() -> None:
        assert (await health(cluster.place))["rows"] == ROWS
        assert "<html" in (await get(cluster.place, "/"))[1]
        assert (await get(cluster.place, "/v1/models"))[0] == 401
        status, models = await get(cluster.place, "/v1/models", **BEARER)
        assert (status, json.loads(models)["data"][0]["id"]) == (200, "echo")
        assert (await get(cluster.place, "/v1/audio/speech", "POST", **BEARER))[0] == 404
        with pytest.raises(InvalidStatus) as refusal:
            await open_socket(cluster.place, Origin="https://example.org", **BEARER)
        assert refusal.value.response.status_code == 403
        socket = await open_socket(cluster.place)
        assert json.loads(await socket.recv())["code"] == "unauthorized"
        await socket.wait_closed()
        assert socket.close_code == 1008

    asyncio.run(main())


@needs_ray
def test_sessions_get_every_row_there_is_and_the_next_one_is_refused_at_once(cluster: Cluster) -> None:
    async def main() -> None:
        sessions = [await begun(cluster) for _ in range(2 * ROWS)]
        assert [answer["type"] for _, answer in sessions] == ["started"] * 2 * ROWS
        assert await cluster.rows_taken() == [ROWS, ROWS]
        began_s = time.monotonic()
        socket, answer = await begun(cluster)
        print(f"refused after {1000 * (time.monotonic() - began_s):.0f} ms")
        assert (answer["code"], answer["retry_ms"]) == ("no_slot", 1000.0)
        await socket.wait_closed()
        assert socket.close_code == 1013
        await sessions[0][0].close()
        await cluster.until(ROWS, ROWS - 1)
        socket, answer = await begun(cluster)
        assert answer["type"] == "started"
        for open_one in (socket, *(socket for socket, _ in sessions)):
            await open_one.close()
        await cluster.until(0, 0)

    asyncio.run(main())


@needs_ray
def test_a_replica_that_dies_loses_its_own_sessions_and_no_others(cluster: Cluster) -> None:
    pcm = noise(100 * N)
    killed = asyncio.Event()

    async def said(pcm: Pcm) -> AsyncIterator[Pcm]:
        yield pcm[: len(pcm) // 2]
        await killed.wait()
        yield pcm[len(pcm) // 2 :]

    async def talk(heard: list[Pcm]) -> Pcm | ConnectionFailed:
        try:
            async for block in cluster.client().loopback(said(pcm)):
                heard.append(block)
        except ConnectionFailed as error:
            return error
        return np.concatenate(heard)

    async def main() -> None:
        heard: list[list[Pcm]] = [[], []]
        talks = []
        for mine in heard:  # one after the other: who connects at once may meet on one replica
            talks.append(asyncio.create_task(talk(mine)))
            while sum(map(len, mine)) < len(pcm) // 4:
                ended, _ = await asyncio.wait(talks, timeout=0.01)
                assert not ended, [task.result() for task in ended]
        assert await cluster.rows_taken() == [1, 1]
        before = cluster.pids()
        assert len(before) == 2
        began_s = time.monotonic()
        os.kill(before[0], signal.SIGKILL)
        await asyncio.wait(talks, return_when=asyncio.FIRST_COMPLETED)
        print(f"its client knows after {1000 * (time.monotonic() - began_s):.0f} ms")
        killed.set()
        ended = [await task for task in talks]
        kinds = Counter(type(end) for end in ended)
        assert kinds == {ConnectionFailed: 1, np.ndarray: 1}, ended
        survived = next(end for end in ended if isinstance(end, np.ndarray))
        undisturbed = await talk([])  # also what the other client does: it comes again
        assert isinstance(undisturbed, np.ndarray)
        assert len(survived) == len(pcm)
        np.testing.assert_array_equal(survived, undisturbed)
        await cluster.until(0, 0)
        print(f"two replicas again after {time.monotonic() - began_s:.1f} s")
        assert len(set(cluster.pids()) - set(before)) == 1

    asyncio.run(main())


@needs_ray
def test_live_sound_goes_on_with_another_replica(cluster: Cluster) -> None:
    async def main() -> None:
        clients = [cluster.client() for _ in range(2)]
        over = asyncio.Event()
        gaps_s: list[float] = []

        async def said() -> AsyncIterator[Pcm]:
            while not over.is_set():
                yield noise(N)
                await asyncio.sleep(ECHO.frame_ms / 1000)  # a microphone

        async def talk(client: Client, began: asyncio.Event) -> None:
            at_s, reconnects = time.monotonic(), 0
            async for _ in client.loopback(said(), live=True):
                began.set()
                if client.reconnects > reconnects:
                    reconnects = client.reconnects
                    gaps_s.append(time.monotonic() - at_s)
                    over.set()
                at_s = time.monotonic()

        talks = []
        for client in clients:
            began = asyncio.Event()
            talks.append(asyncio.create_task(talk(client, began)))
            await began.wait()
        assert await cluster.rows_taken() == [1, 1]
        os.kill(cluster.pids()[0], signal.SIGKILL)
        await asyncio.gather(*talks)
        assert sorted(client.reconnects for client in clients) == [0, 1]
        print(f"silent for {1000 * gaps_s[0]:.0f} ms")
        await cluster.until(0, 0)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--replicas", "2"), 2, ("--replicas", "--cluster")),
        (("--gpus", "1"), 2, ("--gpus", "--cluster")),
        (("--cluster", "--replicas", "0"), 2, ("--replicas",)),
        (("--cluster", "--replicas", "3:2"), 2, ("3:2", "1:4")),
        (("--cluster", "--replicas", "1:"), 2, ("--replicas",)),
        (("--cluster", "--gpus", "-1"), 2, ("--gpus",)),
        (("--cluster", "--gpus", "1.5"), 2, ("1.5", "share")),
        (("--cluster", "10.0.0.1:6379", "--port", "0"), 2, ("--port 0",)),
        (("--cluster", "ray://10.0.0.1:10001"), 2, ("10.0.0.1:6379", "auto")),
        (("--cluster", "--host", "0.0.0.0"), 2, ("anybody", "--no-auth")),
        (("--cluster", "--cert", "a.pem", "--key", "b.pem"), 10, ("a.pem",)),
    ],
)
def test_what_cannot_be_deployed_is_told_in_one_line(
    arguments: tuple[str, ...], code: int, words: tuple[str, ...]
) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "SOTTOVOCE_TOKEN"}
    refused(program.run("serve", "--backend", "echo", *arguments, env=environment), code, *words)


@pytest.mark.skipif(RAY, reason="the extra 'cluster' is here")
def test_it_says_what_is_missing() -> None:
    refused(program.run("serve", "--backend", "echo", "--cluster", "--port", 0), 10, "sottovoce[cluster]")


@needs_ray
def test_a_cluster_that_is_not_there_is_told() -> None:
    command = ("serve", "--backend", "echo", "--port", PORT, "--cluster", "127.0.0.1:9")
    refused(program.run(*command), 10, "127.0.0.1:9", "refused")


@needs_ray
@pytest.mark.parametrize(("least", "cpus", "gpus", "fits"), [
    (2, 1, 0, True), (3, 1, 0, False), (2, 1, 1, True), (3, 0.5, 1, False),
    (4, 0.5, 0.4, True), (5, 0.4, 0.4, False), (1, 1, 2, True), (2, 1, 2, False),
])  # fmt: skip
def test_replicas_that_do_not_fit_are_told(least: int, cpus: float, gpus: float, fits: bool) -> None:
    from sottovoce.stream.cluster import Cluster as Wanted
    from sottovoce.stream.cluster import check_room

    wanted = Wanted("127.0.0.1", PORT, least=least, most=least, cpus=cpus, gpus=gpus)
    with nullcontext() if fits else pytest.raises(ServeError, match="do not fit"):
        check_room(wanted, {"CPU": 2.0, "GPU": 2.0, "memory": 1e9})


async def _handshake(path: str, first: str, gone: str | None) -> list[str]:
    """What a replica sends to a WebSocket whose first message is ``first``, and that takes nothing from ``gone`` on."""
    from sottovoce.stream.replica import Replica

    ours = Replica.__bases__[0]  # Ray's class around it must be ended by Ray
    app = await ours(lambda: (EchoEngine(1), ServerOptions()), alone=False).__serve_build_asgi_app__()
    scope = {"type": "websocket", "path": path, "headers": [], "query_string": b"", "subprotocols": [], "app": app}
    coming, sent = [{"type": first, "code": 1006}], list[str]()

    async def receive() -> dict[str, object]:
        return coming.pop() if coming else {"type": "websocket.disconnect", "code": 1006}

    async def send(message: dict[str, object]) -> None:
        if gone in (message["type"], *sent):
            raise OSError("the client is gone")
        sent.append(str(message["type"]))

    await app(scope, receive, send)
    return sent


@needs_ray
@pytest.mark.parametrize(("first", "gone", "sent"), [
    ("websocket.connect", None, ["websocket.accept", "websocket.send", "websocket.close"]),
    ("websocket.connect", "websocket.send", ["websocket.accept"]),
    ("websocket.connect", "websocket.accept", []),
    ("websocket.disconnect", None, []),
])  # fmt: skip
def test_who_asks_for_a_room_and_does_not_wait_for_the_answer_is_no_fault(
    first: str, gone: str | None, sent: list[str]
) -> None:
    assert asyncio.run(_handshake("/v1/room", first, gone)) == sent


@needs_ray
def test_who_is_gone_before_a_session_begins_is_no_fault() -> None:
    assert asyncio.run(_handshake("/v1/stream", "websocket.disconnect", None)) == []


def test_options_are_read() -> None:
    assert replicas("2") == (2, 2)
    assert replicas("1:4") == (1, 4)
    assert [gpus(text) for text in ("0", "0.25", "1", "2")] == [0, 0.25, 1, 2]
