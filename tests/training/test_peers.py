"""The codecs of others: they run where their programs are, and say so where they are not."""

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sottovoce.training import peers
from sottovoce.training.evaluate import peers_here
from sottovoce.training.lag import lag_samples
from sottovoce.training.peers import PEERS, PeerError, ogg_frame_bits
from sottovoce.training.recordings import Recording, resampled

CLIP = Path(__file__).parents[2] / "clients" / "demo.flac"
BITS = {"opus-6": 6000, "opus-9": 9000, "opus-12": 12_000, "amr-wb-6.6": 6600, "codec2-3200": 3200}
BITS |= {"codec2-2400": 2400, "codec2-1200": 1200, "codec2-700C": 700}
BITS |= {"speex-wb-1": 6000, "speex-wb-3": 10_000}  # packets of whole bytes; the modes have 5.8 and 9.8 kbit/s


def speech() -> Recording:
    pcm, rate_hz = soundfile.read(CLIP, dtype="float32")
    return Recording("demo.flac", pcm[: 3 * rate_hz], rate_hz)


@pytest.mark.parametrize("name", PEERS)
def test_a_peer_gives_speech_back_for_the_bits_it_promises(name: str) -> None:
    peer = PEERS[name]
    if why := peer.missing():
        pytest.skip(why)
    clip = speech()
    assert PEERS.keys() == BITS.keys()
    carried = peer.carry(clip)
    rate = 8 * carried.size.payload_bytes / carried.size.seconds
    assert rate == pytest.approx(BITS[name], rel=0.03)
    assert carried.size.seconds == pytest.approx(clip.seconds, abs=0.04)
    assert carried.size.payload_bytes <= carried.size.file_bytes == len(carried.compressed)
    decoded = resampled(carried.pcm, carried.rate_hz, 16_000)
    assert -32 <= lag_samples(clip.at(16_000), decoded, 16_000) <= 1600  # no earlier than the original; 100 ms at most
    assert np.sqrt((decoded**2).mean()) == pytest.approx(np.sqrt((clip.at(16_000) ** 2).mean()), rel=0.6)


def test_peers_without_their_programs_are_named_and_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "_found", lambda program: None)
    here, missing = peers_here(["all"])
    assert here == []
    assert missing.keys() == PEERS.keys()
    assert missing["opus-6"] == "not installed (opusenc, opusdec); apt-get install opus-tools"


def test_peers_are_chosen_by_name() -> None:
    here, missing = peers_here(["codec2-1200", "opus-6"])
    assert {peer.name for peer in here} | missing.keys() == {"codec2-1200", "opus-6"}
    assert peers_here(["none"]) == ([], {})


def test_a_program_that_fails_or_is_gone_is_one_error() -> None:
    with pytest.raises(PeerError, match="failed"):
        peers._run("false")
    with pytest.raises(PeerError, match="no-such-program"):
        peers._run("no-such-program")


def test_an_ogg_file_is_counted_without_its_headers() -> None:
    def page(*packets: int) -> bytes:
        lacing = b"".join(bytes([255] * (n // 255) + [n % 255]) for n in packets)
        head = struct.pack("<4sBBqIIIB", b"OggS", 0, 0, 0, 1, 0, 0, len(lacing))
        return head + lacing + bytes(sum(packets))

    assert ogg_frame_bits(page(19) + page(300) + page(30, 255, 7)) == [240, 2040, 56]
    with pytest.raises(PeerError, match="no Ogg page"):
        ogg_frame_bits(b"RIFF" + bytes(40))
