"""The budget: each layer against the library that writes it, and the protocol's table against the arithmetic."""

import datetime
import ssl
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from sottovoce.models.config import PRESETS
from sottovoce.stream import budget as layers
from sottovoce.stream.budget import CODECS, LINKS, Route, Way, budget, websocket_bytes
from sottovoce.stream.descriptor import Descriptor
from sottovoce.stream.packer import Dial, Packer
from sottovoce.stream.profiles import PROFILES
from sottovoce.stream.room_key import RoomKey
from sottovoce.stream.room_relay import Relayed

BASE = Descriptor("base", "0123456789ab", 24_000, 960, 4, 128, 8, 1024, 512)
PROTOCOL = Path(__file__).parents[2] / "stream" / "PROTOCOL.md"
WAYS: tuple[Way, Way] = ("up", "down")


def route(link: str = "mqtt", ipv6: bool = False) -> Route:
    return Route(LINKS[link], "room", "anna", ipv6)


@pytest.mark.parametrize("preset", CODECS)
def test_codecs_are_those_of_the_models(preset: str) -> None:
    model = PRESETS[preset]
    codec = CODECS[preset]
    frame_samples = model.mel.hop * model.trunk.mels_per_frame
    assert codec.frame_ms == 1000 * frame_samples / model.mel.rate_hz
    assert (codec.bits, codec.books) == ((model.quantiser.book_size - 1).bit_length(), model.quantiser.books)


@pytest.mark.parametrize("profile", PROFILES.values(), ids=list(PROFILES))
@pytest.mark.parametrize("sealed", [False, True])
def test_a_packet_has_the_size_that_is_budgeted(profile: layers.Profile, sealed: bool) -> None:
    packer = Packer(BASE, Dial(8, profile.books), profile.frames_per_packet, profile.redundancy)
    frames = np.random.default_rng(0).integers(0, 1024, (5 * profile.frames_per_packet, 8)).astype(np.int16)
    packets = list(packer.push(frames))
    if sealed:
        sealer = RoomKey.generate().sealer("r", "p")
        packets = [sealer.seal("a", packet) for packet in packets]
    cost = budget(profile, route(), CODECS["base"], sealed).up
    inner = sum(cost.layers[name] for name in ("codes", "repeated", "header", "seal"))
    assert {len(packet) for packet in packets[2:]} == {inner}


@pytest.mark.parametrize("link", ["mqtt", "mqtt3"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("n_bytes", [1, 43, 100, 127, 128, 300, 3000])
def test_a_publish_has_the_size_that_paho_writes(link: str, way: Way, n_bytes: int) -> None:
    client = pytest.importorskip("paho.mqtt.client")
    from paho.mqtt.enums import MQTTProtocolVersion
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.properties import Properties

    v5 = link == "mqtt"
    sending = client.Client(protocol=MQTTProtocolVersion.MQTTv5 if v5 else MQTTProtocolVersion.MQTTv311,
                            callback_api_version=client.CallbackAPIVersion.VERSION2)  # fmt: skip
    written: list[bytes] = []
    sending._packet_queue = lambda command, packet, *rest: written.append(bytes(packet))
    properties = Properties(PacketTypes.PUBLISH) if v5 else None
    topic = b"sv/room/anna/a"
    if properties is not None and way == "up":
        properties.TopicAlias, topic = 1, b""
    sending._sock = object()  # it must think that it is connected
    sending._send_publish(1, topic, bytes(n_bytes), 0, False, False, None, properties)
    sending._sock = None
    assert len(written[0]) == n_bytes + route(link).layers(n_bytes, way)["mqtt"]


@pytest.mark.parametrize("n_bytes", [0, 1, 120, 125, 126, 300, 65_535, 65_536])
@pytest.mark.parametrize("masked", [False, True])
def test_a_frame_has_the_header_that_websockets_writes(n_bytes: int, masked: bool) -> None:
    frames = pytest.importorskip("websockets.frames")
    written = frames.Frame(frames.Opcode.BINARY, bytes(n_bytes)).serialize(mask=masked)
    assert len(written) == n_bytes + websocket_bytes(n_bytes, masked)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("n_bytes", [20, 118, 119, 120, 124, 125, 200])
def test_a_relayed_payload_is_what_is_budgeted(way: Way, n_bytes: int) -> None:
    frames = pytest.importorskip("websockets.frames")
    relayed = Relayed("a", bytes(n_bytes), "anna")
    message = relayed.pack_up() if way == "up" else relayed.pack_down()
    written = frames.Frame(frames.Opcode.BINARY, message).serialize(mask=way == "up")
    assert len(written) == n_bytes + route("ws").layers(n_bytes, way)["websocket"]


def test_a_record_of_tls_has_the_size_that_openssl_writes(tmp_path: Path) -> None:
    client, server, to_server = _handshake(tmp_path)
    for n_bytes in (1, 54, 143, 1400):
        client.write(bytes(n_bytes))
        assert (
            len(to_server.read()) == n_bytes + layers.TLS_BYTES == n_bytes + route("mqtts").layers(n_bytes, "up")["tls"]
        )
    assert server.version() == "TLSv1.3"


def _handshake(folder: Path) -> tuple[ssl.SSLObject, ssl.SSLObject, ssl.MemoryBIO]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "broker")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + datetime.timedelta(1))
        .sign(key, SHA256())
    )  # fmt: skip
    pem = folder / "pem"
    pem.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + certificate.public_bytes(Encoding.PEM)
    )
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(pem)
    asking = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    asking.check_hostname, asking.verify_mode = False, ssl.CERT_NONE
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = asking.wrap_bio(to_client, to_server)
    server = serving.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(3):
        for end in (client, server):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return client, server, to_server


def test_the_layers_of_a_packet_by_hand() -> None:
    """``normal`` on plain MQTT 3.1.1: 6 frames x 4 books x 10 bits, 6 x 10 repeated, five of header; a topic of 14 bytes."""
    one = budget(PROFILES["normal"], route("mqtt3"), CODECS["base"])
    expected = {
        "codes": 30,
        "repeated": 8,
        "header": 5,
        "seal": 0,
        "mqtt": 18,
        "websocket": 0,
        "tls": 0,
        "tcp": 32,
        "ip": 20,
    }
    assert one.up.layers == one.down.layers == expected
    assert one.up.packet_bytes == 113
    assert one.up.bit_per_s == pytest.approx(113 * 8 / 0.24)
    assert one.up.ack_bit_per_s == pytest.approx(52 * 8 / 0.24)
    assert one.code_bit_per_s == pytest.approx(1000)
    assert one.delay_ms == 240
    assert one.talk_end_bytes == 11 + 18 + 52


def test_every_layer_adds_to_the_sum_and_to_nothing_else() -> None:
    def bytes_of(link: str, sealed: bool = False, ipv6: bool = False, way: Way = "up") -> int:
        return getattr(budget(PROFILES["normal"], route(link, ipv6), CODECS["base"], sealed), way).packet_bytes

    assert bytes_of("mqtts") - bytes_of("mqtt") == 22
    assert bytes_of("mqtt", sealed=True) - bytes_of("mqtt") == 11
    assert bytes_of("mqtt", ipv6=True) - bytes_of("mqtt") == 20
    assert bytes_of("mqtt3") - bytes_of("mqtt") == 14 - 4
    assert bytes_of("mqtt", way="down") - bytes_of("mqtt3", way="down") == 1
    assert bytes_of("wss") - bytes_of("ws") == 22


def test_what_is_longer_than_a_segment_has_two_headers() -> None:
    long = replace(PROFILES["radio"], books=8, frames_per_packet=200)
    cost = budget(long, route(), CODECS["base"]).up
    assert cost.layers["tcp"] == 2 * 32
    assert cost.ack_bytes == 2 * 52
    assert route().layers(1448 - 9, "up")["tcp"] == 32
    assert route().layers(1448 - 8, "up")["tcp"] == 64


def test_more_books_than_the_codec_has_are_not_budgeted() -> None:
    one = budget(PROFILES["normal"], route(), CODECS["micro"])
    assert one.code_bit_per_s == pytest.approx(875)


def test_the_radio_fits_a_link_of_a_kilobit_even_sealed() -> None:
    hidden = Route(LINKS["mqtt3"], "r" * 8, "p" * 4)
    one = budget(PROFILES["radio"], hidden, CODECS["base"], sealed=True)
    assert max(one.up.bit_per_s, one.down.bit_per_s) < 1200


def test_a_line_carries_voice_acknowledgements_and_signs_of_life() -> None:
    one = budget(PROFILES["normal"], route("mqtt"), CODECS["base"])
    alive_up, alive_down = one.route.alive_bit_per_s
    assert one.talker_bit_per_s == (one.up.bit_per_s + alive_up, one.up.ack_bit_per_s + alive_down)
    assert one.listener_bit_per_s == (one.down.ack_bit_per_s + alive_up, one.down.bit_per_s + alive_down)


def test_with_mqtt_3_a_talker_is_sent_its_own_voice() -> None:
    one = budget(PROFILES["normal"], route("mqtt3"), CODECS["base"])
    alive_up, alive_down = one.route.alive_bit_per_s
    assert one.talker_bit_per_s[0] == pytest.approx((113 + 52) * 8 / 0.24 + alive_up)
    assert one.talker_bit_per_s[1] == pytest.approx(113 * 8 / 0.24 + alive_down)


def test_what_it_costs_to_be_there_by_hand() -> None:
    assert route("mqtt").alive_bit_per_s == pytest.approx((8 * (54 + 52) / 15, 8 * (54 + 52) / 15))
    twice_per_s = 1 / 15 + 1 / 20
    assert route("ws").alive_bit_per_s == pytest.approx((8 * (62 + 52) * twice_per_s, 8 * (58 + 52) * twice_per_s))
    assert route("wss").alive_bit_per_s[0] == pytest.approx(8 * (84 + 52) * twice_per_s)


def row(profile: layers.Profile) -> str:
    one = budget(profile, route(), CODECS["base"])
    cells = (
        profile.name,
        f"{profile.frames_per_packet} frames, {one.delay_ms:.0f} ms",
        profile.books,
        profile.redundancy,
        *(round(rate) for rate in (one.code_bit_per_s, one.up.bit_per_s, one.down.bit_per_s, one.up.ack_bit_per_s)),
    )
    return "| " + " | ".join(map(str, cells)) + " |"


def test_the_protocol_tells_what_the_budget_tells() -> None:
    assert "\n".join(map(row, PROFILES.values())) in PROTOCOL.read_text()
