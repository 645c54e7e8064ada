"""A real server in a process of its own, and peers who stop reading, break off anywhere, or speak no WebSocket at all.

Somebody else is spoken to meanwhile, and hears what she hears alone. Afterwards there is nothing of them left: no session, no
row, no connection, and no traceback in the log.
"""

import asyncio
import os
import random
import signal
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from websockets.frames import OP_BINARY, OP_CLOSE, OP_CONT, OP_PING, OP_TEXT

from sottovoce.clients.client import Client
from sottovoce.stream import messages
from sottovoce.stream.client_messages import Cancel, Credit, End, Format, Start, Text, TextEnd
from sottovoce.stream.frames import Pcm
from sottovoce.stream.server_messages import Cancelled, Error
from sottovoce.stream.wire import Kind, Media
from support import program
from support.raw_peer import RawPeer, frame
from support.same import STEP_16_BITS, assert_same
from support.serving import get, health

SLOW_S, IDLE_S = 1.0, 3.0
SERVER = f"""
sys.path.insert(0, sys.argv[1])
import asyncio, logging, socket
from contextlib import suppress
from sottovoce.stream.server import ServerOptions, serve
from sottovoce.stream.server_messages import Limits
from sottovoce.stream.speakers import Speakers
from support import tiny_talk
from support.speaking import READERS
logging.basicConfig(level=logging.WARNING)
listening = socket.create_server(("127.0.0.1", 0))
engine = tiny_talk.engine(rows=8)
options = ServerOptions(Limits(sessions=0, slow_s={SLOW_S}, idle_s={IDLE_S}), speakers=Speakers(engine.voices, READERS))
ready = lambda: print(f"127.0.0.1:{{listening.getsockname()[1]}}", flush=True)
with suppress(KeyboardInterrupt):
    asyncio.run(serve(engine, options, listening, ready))
"""
TEXT = "It goes on for a while, and then it goes on. " * 20
F32 = Format("pcm", "f32le", 48_000)
SPEAK = Start("speak", F32, F32, live=False, lead_ms=2000.0)
WAITS = Start("loopback", F32, F32, live=False, lead_ms=2000.0)
LIVE = Start("loopback", F32, F32, view=True, lead_ms=2000.0)


class Server:
    """The process."""

    def __init__(self, process: "subprocess.Popen[str]", place: str) -> None:
        self.process, self.place = process, place

    def open_files(self) -> int:
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    log = tmp_path_factory.mktemp("server") / "log"
    with (
        log.open("w") as complaints,
        subprocess.Popen(
            program.script(SERVER, Path(__file__).parents[1]),
            stdout=subprocess.PIPE,
            stderr=complaints,
            text=True,
            preexec_fn=program.interruptible,
        ) as process,
    ):
        assert process.stdout is not None
        try:
            yield Server(process, process.stdout.readline().strip())
            process.send_signal(signal.SIGINT)
            process.wait(20)
        finally:
            process.kill()
    said = log.read_text()
    assert "Traceback" not in said, said
    assert "ERROR:" not in said, said


def speech(place: str) -> Pcm:
    """What somebody hears who behaves."""

    async def listen() -> Pcm:
        return np.concatenate([pcm async for pcm in Client(f"ws://{place}").speak("Good day. It has left. All right.")])

    return asyncio.run(listen())


def nothing_left(server: Server, n_files: int) -> None:
    """Wait until all is as it was; a test that waits in vain runs into its timeout."""

    async def look() -> None:
        while (await health(server.place))["rows_taken"] or server.open_files() > n_files:
            pass
        told = (await get(server.place, "/metrics"))[1].splitlines()
        assert "# TYPE sottovoce_sessions_open gauge" in told  # of a mode that nobody was in it has no line
        open_ = [line for line in told if line.startswith("sottovoce_sessions_open{")]
        assert all(line.endswith(" 0.0") for line in open_), open_

    asyncio.run(look())
    assert server.process.poll() is None


def sound(seq: int, n_samples: int = 1920) -> Media:
    return Media(Kind.PCM, seq & 0xFFFF, 0, n_samples, seq * n_samples & 0xFFFFFFFF, os.urandom(2 * n_samples) * 2)


# ---- who stops reading ---------------------------------------------------------------------------------------------


def says_that_it_played(place: str) -> RawPeer:
    """It gets credit for what it never read, until no more fits between the two ends."""
    peer = RawPeer(place)
    peer.begin(WAITS)
    with suppress(OSError):  # at last the server is gone
        for seq in range(10_000):
            peer.say(Media(Kind.PCM, seq & 0xFFFF, 0, 1920, seq * 1920 & 0xFFFFFFFF, bytes(4 * 1920)))
            peer.say(Credit(0, 1e9, 0.0, 0))
    return peer


def plays_nothing(place: str) -> RawPeer:
    peer = RawPeer(place)
    peer.begin(SPEAK)
    peer.say(Text(TEXT))
    return peer


def talks_on(place: str) -> RawPeer:
    """Live, and as fast as it goes."""
    peer = RawPeer(place)
    peer.begin(LIVE)
    with suppress(OSError):
        for seq in range(500):
            peer.say(Media(Kind.PCM, seq & 0xFFFF, 0, 1920, seq * 1920 & 0xFFFFFFFF, bytes(4 * 1920)))
    return peer


def stops_within_a_message(place: str) -> RawPeer:
    peer = RawPeer(place)
    peer.begin(SPEAK)
    peer.raw(frame(OP_TEXT, messages.encode(Text("It goes on.")).encode())[:-5])
    return peer


def never_ends_a_message(place: str) -> RawPeer:
    peer = RawPeer(place)
    peer.begin(SPEAK)
    peer.raw(frame(OP_TEXT, b'{"type":"text","text":"', fin=False) + frame(OP_CONT, b"a", fin=False))
    return peer


def says_no_more(place: str) -> RawPeer:
    """It has closed its side, and reads nothing of the other."""
    peer = RawPeer(place)
    peer.begin(SPEAK)
    peer.say(Text(TEXT))
    peer.socket.shutdown(socket.SHUT_WR)
    return peer


STALLS = (says_that_it_played, plays_nothing, talks_on, stops_within_a_message, never_ends_a_message, says_no_more)


def test_who_stalls_loses_its_row_while_others_hear_all_of_theirs(server: Server) -> None:
    alone = speech(server.place)
    n_files = server.open_files()
    with ThreadPoolExecutor() as pool:
        stalling = [pool.submit(stalls, server.place) for stalls in STALLS]
        assert_same(speech(server.place), alone, STEP_16_BITS)
        peers = [peer.result() for peer in stalling]

    async def until_free() -> None:
        while (await health(server.place))["rows_taken"]:
            pass

    asyncio.run(until_free())  # while they are still there, and read nothing
    for peer in peers:
        peer.until_closed()
        peer.close()
    nothing_left(server, n_files)


# ---- who breaks off ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("goodbye", ["reset", "close", "half a message", "no frame"])
def test_who_leaves_in_the_middle_of_a_sentence_leaves_nothing(server: Server, goodbye: str) -> None:
    n_files = server.open_files()
    chance = random.Random(goodbye)
    for _ in range(6):
        peer = RawPeer(server.place)
        peer.begin(SPEAK)
        peer.say(Text(TEXT))
        for _ in range(chance.randrange(20)):
            peer.read()
        if goodbye == "half a message":
            peer.raw(frame(OP_BINARY, bytes(500))[: chance.randrange(1, 400)])
        elif goodbye == "no frame":
            peer.raw(chance.randbytes(50))
        if goodbye == "close":
            peer.raw(frame(OP_CLOSE, struct.pack(">H", 1001)))
            peer.close()
        else:
            peer.reset()
    nothing_left(server, n_files)


def test_nothing_of_the_old_comes_after_a_cancel_however_much_was_on_its_way(server: Server) -> None:
    """The peer reads nothing while sound comes; what it reads behind ``cancelled`` is of the new generation alone."""
    n_files = server.open_files()
    peer = RawPeer(server.place)
    peer.begin(SPEAK)
    generation = old = 0
    for _ in range(8):
        peer.say(Text("It goes on for a while. And on."))
        peer.say(TextEnd())
        while not (isinstance(message := peer.read(), Media) and message.count):
            assert not isinstance(message, Error)
        peer.wait()  # unread, it lies in the line
        peer.say(Cancel(generation, 0.0))
        while not isinstance(message := peer.read(), Cancelled):
            old += isinstance(message, Media)
        generation += 1
        assert message.generation == generation
    peer.say(Text("Yes."))
    peer.say(End())
    new = []
    while (message := peer.read()) is not None:
        if isinstance(message, Media):
            assert message.generation == generation
            new.append(message.count)
    assert old > 0
    assert sum(new) > 1000
    peer.close()
    nothing_left(server, n_files)


# ---- who speaks something else -------------------------------------------------------------------------------------

_NO_FRAMES = (
    b"\x83\x80\0\0\0\0",  # an opcode that there is none of
    b"\xf1\x80\0\0\0\0",  # reserved bits
    b"\x01\x05Hello",  # not masked
    b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0",  # longer than anything
    b"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0",
    b"\x82\xfe\xff\xff\0\0\0\0" + bytes(100),
    frame(OP_CONT, b"of nothing"),
    frame(OP_TEXT, b"\xff\xfe"),  # no UTF-8
    frame(OP_TEXT, b"a", fin=False) + frame(OP_TEXT, b"b"),
    frame(OP_CLOSE, b"\x03"),  # half a code
    frame(OP_CLOSE, struct.pack(">H", 1005)),
    b"\x89\xfe\x00\x7e" + bytes(130),  # a ping that is too long
    frame(OP_PING, b"") * 500,
    frame(OP_TEXT, b"") * 500,
    frame(OP_TEXT, b'{"type":"' + b"[" * 60_000),
    frame(OP_BINARY, bytes(range(12))),
    frame(OP_BINARY, b"") * 50,
)


def test_whatever_comes_over_the_line_the_server_stays_and_forgets_it(server: Server) -> None:
    """In random order, before and within sessions, cut anywhere; a few at once, each gone in its own way."""
    n_files = server.open_files()
    alone = speech(server.place)
    heard: list[Pcm] = []
    listening = threading.Thread(target=lambda: heard.append(speech(server.place)))
    listening.start()

    def attack(seed: int) -> None:
        chance = random.Random(seed)
        known = (Text("It goes on. "), TextEnd(), Cancel(0, 0.0), Credit(0, 100.0, 0.0, 0), sound(0), End())
        with suppress(OSError):
            peer = RawPeer(server.place, chance.choice([1024, 65536]))
            try:
                if chance.random() < 0.9:
                    peer.handshake()
                if chance.random() < 0.6:
                    peer.say(chance.choice([SPEAK, WAITS, LIVE]))
                for _ in range(chance.randrange(1, 8)):
                    what = chance.choice(["known", "frame", "cut", "noise"])
                    if what == "known":
                        peer.say(chance.choice(known))
                    elif what == "noise":
                        peer.raw(chance.randbytes(chance.randrange(1, 200)))
                    else:
                        data = chance.choice(_NO_FRAMES)
                        peer.raw(data if what == "frame" else data[: chance.randrange(1, len(data))])
            finally:
                chance.choice([peer.reset, peer.close])()

    for seed in range(0, 80, 4):
        attackers = [threading.Thread(target=attack, args=(each,)) for each in range(seed, seed + 4)]
        for attacker in attackers:
            attacker.start()
        for attacker in attackers:
            attacker.join()
    listening.join()
    assert_same(heard[0], alone, STEP_16_BITS)
    nothing_left(server, n_files)


def test_who_pings_without_end_and_takes_no_answer_is_left(server: Server) -> None:
    n_files = server.open_files()
    peer = RawPeer(server.place)
    peer.handshake()
    ping = frame(OP_PING, bytes(125)) * 100

    def flood() -> None:
        for _ in range(5000):  # 65 MB
            peer.raw(ping)

    with pytest.raises(OSError, match=r"reset|pipe"):
        flood()
    peer.socket.close()
    nothing_left(server, n_files)
