"""A bad line: what goes in comes out late, in order, or never; and between two namespaces it is a real one."""

import itertools
import subprocess
import sys
from dataclasses import replace

import pytest

from sottovoce.training.link import Conditions, Line, LinkError, Namespace, Wire, hosts_need

PACKET = bytes(100)


def carried(wire: Wire, n: int, every_s: float) -> list[tuple[int, float]]:
    """(number, arrival) of ``n`` packets that were sent ``every_s`` apart."""
    arrived = []
    for i in range(n):
        wire.push(i.to_bytes(4, "little") + PACKET, i * every_s)
    while wire.next_s is not None:
        now_s = wire.next_s
        arrived += [(int.from_bytes(packet[:4], "little"), now_s) for packet in wire.pop(now_s)]
    return arrived


def test_a_good_line_delays_and_nothing_else() -> None:
    arrived = carried(Wire(Conditions(delay_ms=50)), 100, 0.02)
    assert [number for number, _ in arrived] == list(range(100))
    assert all(s == pytest.approx(number * 0.02 + 0.05) for number, s in arrived)


def test_jitter_keeps_the_order_and_overtaking_does_not() -> None:
    steady = carried(Wire(Conditions(delay_ms=50, jitter_ms=40)), 500, 0.02)
    assert [number for number, _ in steady] == list(range(500))
    assert len({round(s - number * 0.02, 4) for number, s in steady}) > 100
    wild = [number for number, _ in carried(Wire(Conditions(delay_ms=50, reorder=0.2)), 500, 0.02)]
    assert sorted(wild) == list(range(500))
    assert wild != sorted(wild)


@pytest.mark.parametrize("loss", [0.02, 0.1, 0.3])
def test_the_share_and_the_length_of_fades_are_as_asked(loss: float) -> None:
    n, every_s = 120_000, 0.01
    wire = Wire(Conditions(loss=loss, fade_ms=100))
    got = {number for number, _ in carried(wire, n, every_s)}
    assert wire.counts["lost"] / n == pytest.approx(loss, rel=0.25)
    fades = sum(i not in got and i + 1 in got for i in range(n - 1))
    # A fade that falls between two packets is not seen, so those seen are a little longer.
    assert 0.09 < wire.counts["lost"] * every_s / fades < 0.13


def test_what_is_lost_on_a_good_line_is_lost_on_a_worse_one() -> None:
    conditions = Conditions(delay_ms=60, jitter_ms=10)
    lines = [
        dict(carried(Wire(replace(conditions, loss=loss), 3), 3000, 0.08)) for loss in (0, 0.02, 0.05, 0.1, 0.2, 0.7)
    ]
    for better, worse in itertools.pairwise(lines):
        assert better.keys() > worse.keys()
        assert all(
            better[number] >= s for number, s in worse.items()
        )  # and nothing else has changed but to wait for it


def test_a_narrow_line_takes_its_time_and_then_drops() -> None:
    wire = Wire(Conditions(rate_bps=8000))
    arrived = carried(wire, 400, 0.0)  # 104 bytes each: 9.6 a second, and room for 30 kB
    assert arrived[0][1] == pytest.approx(0.104)
    assert arrived[9][1] == pytest.approx(1.04)
    assert wire.counts["full"] == 400 - len(arrived) > 100


def test_an_outage_takes_what_is_sent_in_it() -> None:
    wire = Wire(Conditions(outages_s=((1.0, 2.0),)))
    numbers = [number for number, _ in carried(wire, 30, 0.1)]
    assert numbers == [*range(10), *range(20, 30)]
    assert wire.counts["outage"] == 10


@pytest.mark.parametrize("conditions", [Conditions(loss=1.0), Conditions(loss=-0.1), Conditions(loss=0.1, fade_ms=0)])
def test_conditions_that_cannot_be(conditions: Conditions) -> None:
    with pytest.raises(ValueError, match="cannot be"):
        Wire(conditions)


def test_the_same_seed_loses_the_same() -> None:
    conditions = Conditions(delay_ms=50, jitter_ms=10, loss=0.2)
    assert carried(Wire(conditions, 7), 300, 0.02) == carried(Wire(conditions, 7), 300, 0.02)
    assert carried(Wire(conditions, 7), 300, 0.02) != carried(Wire(conditions, 8), 300, 0.02)


ECHO = """
import socket
with socket.create_server(("0.0.0.0", 7)) as listening:
    print("ready", flush=True)
    peer, _ = listening.accept()
    while data := peer.recv(4096):
        peer.sendall(data)
"""
ASK = """
import socket, sys, time
with socket.create_connection((sys.argv[1], 7)) as peer:
    for i in range(10):
        began = time.monotonic()
        peer.sendall(b"x" * 100)
        assert len(peer.recv(4096)) == 100
        print(1000 * (time.monotonic() - began))
"""


@pytest.mark.skipif(hosts_need() is not None, reason=f"no lines here: {hosts_need()}")
def test_tcp_between_two_namespaces_has_the_delay_of_the_line() -> None:
    with Namespace("svtesta") as a, Namespace("svtestb") as b:
        conditions = Conditions(delay_ms=40)
        with Line((a, b), 250, (conditions, replace(conditions, delay_ms=20))) as line:
            server = subprocess.Popen(b.command(sys.executable, "-c", ECHO), stdout=subprocess.PIPE)
            try:
                assert server.stdout is not None
                server.stdout.readline()
                ask = a.command(sys.executable, "-c", ASK, line.address(1))
                told = subprocess.run(ask, capture_output=True, text=True, check=True, timeout=30).stdout
            finally:
                server.kill()
                server.wait()
                assert server.stdout is not None
                server.stdout.close()
            round_trips_ms = sorted(map(float, told.split()))
            assert len(round_trips_ms) == 10
            assert 60 <= round_trips_ms[0] < 120
            sent, back = (wire.counts["bytes"] for wire in line.wires)
            assert sent > 1000 < back


@pytest.mark.skipif(hosts_need() is not None, reason=f"no lines here: {hosts_need()}")
def test_a_name_that_is_taken_is_one_clear_error() -> None:
    with Namespace("svtestc"), pytest.raises(LinkError, match="svtestc"), Namespace("svtestc"):
        pass
