"""The torch engine: the streaming law on every device and in fixed shapes, fewer bits, and a talker beside it."""

import copy
import gc
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sottovoce.models.checkpoint import load_codec, load_talker
from sottovoce.models.codec import Codec, MelCodec
from sottovoce.models.config import TINY, VOCODERS, Preset
from sottovoce.models.cuda_graph import CudaRecorder
from sottovoce.models.fixed_step import CHUNKS, FixedSteps, buckets, chunks, record_eagerly
from sottovoce.models.lowered import lower
from sottovoce.models.resident import Layout, Resident
from sottovoce.models.streaming import tree_map
from sottovoce.models.vocoder import make_vocoder
from sottovoce.stream import torch_engine
from sottovoce.stream.clicks import clicks
from sottovoce.stream.engine import KINDS, Work
from sottovoce.stream.errors import UsageError
from sottovoce.stream.law import check_engine, check_talker, voice
from sottovoce.stream.onnx_engine import OnnxEngine
from sottovoce.stream.onnx_talk import OnnxTalk
from sottovoce.stream.talk_engine import Draw, TalkEngine, Talks
from sottovoce.stream.talk_work import Manner, Moment, Reading
from sottovoce.stream.torch_engine import TorchEngine, find_device
from sottovoce.stream.torch_talk import LENGTHS, TorchTalk
from support import tiny_talk
from support.devices import FIXED, GPU, HERE, Place, each_place, fixed_places

FRAMES = 40


@cache
def _codec(vocoder: str) -> Codec:
    torch.manual_seed(1)
    preset: Preset = TINY if vocoder == "hifigan" else Preset(**{**_fields(TINY), "vocoder": VOCODERS["tiny"][vocoder]})
    parts = MelCodec(preset), make_vocoder(preset)
    net, sound = (part.eval().requires_grad_(False) for part in parts)
    net.synthesis.stack.parts[-1].linear.weight.normal_(std=0.05)  # type: ignore[union-attr,operator]  # silent when new
    return Codec(net, sound, "0123456789ab")  # type: ignore[arg-type]


def _fields(preset: Preset) -> dict[str, Any]:
    return {name: getattr(preset, name) for name in ("name", "mel", "trunk", "quantiser", "vocoder")}


def make(place: Place, vocoder: str = "vocos", rows: int = 3, dtype: Any = "float32") -> TorchEngine:
    """One of its own: engines move and lower what they are given."""
    return TorchEngine(rows=rows, codec=copy.deepcopy(_codec(vocoder)), dtype=dtype, **place.given)  # type: ignore[arg-type]


@each_place
@pytest.mark.parametrize("vocoder", ["vocos", "hifigan"])
def test_the_streaming_law_holds(place: Place, vocoder: str) -> None:
    for one in check_engine(make(place, vocoder), FRAMES):
        assert one.good or one.check == "clicks", one


@fixed_places
def test_fixed_shapes_say_what_free_ones_say(place: Place) -> None:
    """The whole chain, in chunks that are no power of two, for as many rows as fill no bucket."""
    free, fixed = make(HERE, rows=5), make(place, rows=5)
    rows = [[engine.open() for _ in range(5)] for engine in (free, fixed)]
    for n, chosen in ((7, (0, 2, 4)), (1, (3, 1, 0, 2, 4)), (3, (4,))):
        said: list[Any] = [voice(free.descriptor, n, seed=i) for i in chosen]
        for kind in KINDS:
            answers = [
                engine.step([Work(of[i], kind, piece, 0.0) for i, piece in zip(chosen, said, strict=True)])
                for engine, of in zip((free, fixed), rows, strict=True)
            ]
            for a, b in zip(*answers, strict=True):
                assert a.dtype == b.dtype
                assert a.shape == b.shape
                if kind == "encode":
                    assert np.array_equal(a, b)
                else:
                    assert np.abs(a - b).max() <= 1e-5 * max(1.0, np.abs(a).max())
            said = answers[0]


@each_place
@pytest.mark.parametrize("vocoder", ["vocos", "hifigan"])
def test_chunks_of_codes_are_the_frames_one_by_one(place: Place, vocoder: str) -> None:
    """Of some rows and of one: steps of four frames and of two, as they are recorded before anybody comes."""
    engine = make(place, vocoder, rows=3)
    chance = np.random.default_rng(5)
    for n_rows in (3, 1):
        rows = [engine.open() for _ in range(n_rows)]
        shape = n_rows, 11, engine.descriptor.books
        said: Any = list(chance.integers(0, engine.descriptor.book_size, shape).astype(np.int16))
        for kind, unit in (("decode", 1), ("vocode", engine.descriptor.mels_per_frame)):
            found = []
            for cuts in ((1,) * 11, (1, 2, 4, 4)):
                edges, answers = np.cumsum((0, *cuts)) * unit, []
                for a, b in pairwise(edges):
                    pieces = zip(rows, said, strict=True)
                    answers.append(engine.step([Work(row, kind, one[a:b], 0.0, a == 0) for row, one in pieces]))  # type: ignore[arg-type]
                found.append([np.concatenate(of_row) for of_row in zip(*answers, strict=True)])
            for one_by_one, in_chunks in zip(*found, strict=True):
                assert one_by_one.shape == in_chunks.shape
                assert np.abs(one_by_one - in_chunks).max() <= 1e-5 * max(1.0, np.abs(one_by_one).max())
            said = found[0]
        for row in rows:
            engine.close(row)


@fixed_places
def test_every_bucket_and_chunk_is_recorded_before_anybody_comes(place: Place) -> None:
    engine = make(place, rows=3)
    sizes = buckets(3)
    for kind in KINDS:
        wanted = CHUNKS if kind in ("decode", "vocode") else (1,)
        recorded = {(size, n) for size in sizes for n in wanted}
        assert set(engine._fixed[kind]._steps) == recorded
        row = engine.open()
        engine.step([Work(row, kind, np.concatenate([engine._frame(kind, 1)[0].cpu().numpy()] * 7), 0.0)])
        assert set(engine._fixed[kind]._steps) == recorded, "a long piece needs no other"
        engine.close(row)


@fixed_places
def test_rows_without_work_keep_every_bit(place: Place) -> None:
    """Three of five rows step in a bucket of four: neither the other two nor what fills the bucket up moves them."""
    engine = make(place, rows=5)
    rows = [engine.open() for _ in range(5)]
    for kind, resident in engine._residents.items():
        with torch.inference_mode():
            for state in resident.states:
                state.copy_(torch.rand(state.shape) * 0.1)
        before = [state.clone() for state in resident.states]
        data: dict[str, Any] = {
            "mel": voice(engine.descriptor, 1),
            "decode": np.zeros((1, engine.descriptor.books), np.int16),
        }
        mel = np.full((engine.descriptor.mels_per_frame, engine.descriptor.n_mels), -6, np.float32)
        engine.step([Work(rows[i], kind, data.get(kind, mel), 0.0) for i in (0, 2, 3)])
        for old, new in zip(before, resident.states, strict=True):
            moved = [not torch.equal(old[rows[i]], new[rows[i]]) for i in range(5)]
            assert moved == [True, False, True, True, False]


@each_place
def test_an_answer_is_not_overwritten_by_the_next(place: Place) -> None:
    engine = make(place, rows=1)
    row = engine.open()
    first = engine.step([Work(row, "mel", voice(engine.descriptor, 1), 0.0)])[0]
    kept = first.copy()
    engine.step([Work(row, "mel", voice(engine.descriptor, 1, seed=9), 0.0)])
    assert np.array_equal(first, kept)


def test_buckets_hold_every_number_of_rows() -> None:
    assert buckets(1) == (1,)
    assert buckets(2) == (1, 2)
    assert buckets(5) == (1, 2, 4, 5)
    assert buckets(256) == (1, 2, 4, 8, 16, 32, 64, 96, 128, 192, 256)
    assert buckets(500)[-3:] == (256, 384, 500)


@given(st.integers(1, 200))
def test_chunks_are_all_frames_the_longest_first(n: int) -> None:
    found = chunks(n)
    assert sum(found) == n
    assert set(found) <= set(CHUNKS)
    assert found == sorted(found, reverse=True)


@settings(max_examples=20)
@given(
    sizes=st.lists(st.tuples(st.integers(1, 3), st.integers(1, 4), st.booleans()), min_size=1, max_size=5),
    rows=st.integers(1, 4),
)
def test_a_packed_state_is_the_state(sizes: list[tuple[int, int, bool]], rows: int) -> None:
    state: Any = tuple(
        (torch.randint(9, (rows, a, b)) if whole else torch.randn(rows, a, b), ()) for a, b, whole in sizes
    )
    layout = Layout(state)
    packed = layout.pack(state)
    assert len(packed) == len({whole for *_, whole in sizes})
    tree_map(lambda a, b: torch.testing.assert_close(a, b, rtol=0, atol=0) or a, layout.unpack(packed), state)


class _Sum:
    """Adds up what it hears, and counts its calls."""

    delay = 0

    def __init__(self) -> None:
        self.calls: list[tuple[int, ...]] = []

    def initial_state(self, batch: int) -> torch.Tensor:
        return torch.zeros(batch, 1)

    def __call__(self, x: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.calls.append(tuple(x.shape))
        total = state + x.sum(1, keepdim=True)
        return total, total


def test_a_step_takes_the_smallest_bucket_and_is_recorded_once() -> None:
    module = _Sum()
    recorded = 0

    def record(step: Any) -> Any:
        nonlocal recorded
        recorded += 1
        return record_eagerly(step)

    steps = FixedSteps(Resident(module, 6), lambda n: torch.zeros(1, n), record)
    for turn in range(3):
        totals = steps([5, 0, 2], np.ones((3, 2), np.float32), 2)
        assert np.array_equal(totals, np.full((3, 1), 2.0 * (turn + 1)))
    assert recorded == 1
    assert set(module.calls) == {(4, 2)}
    steps([1], np.ones((1, 1), np.float32))
    assert module.calls[-1] == (1, 1)
    assert recorded == 2
    steps.warm_up()
    assert recorded == len(buckets(6)) * len(CHUNKS)


# ---- fewer bits ------------------------------------------------------------------------------------------------


@each_place
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_fewer_bits_keep_the_codes_and_nearly_the_sound(place: Place, dtype: Any) -> None:
    whole, lowered = make(HERE, rows=1), make(place, rows=1, dtype=dtype)
    pcm = voice(whole.descriptor, 20)
    said = []
    for engine in (whole, lowered):
        row, data = engine.open(), pcm
        answers = {}
        for kind in KINDS:
            data = answers[kind] = engine.step([Work(row, kind, data, 0.0)])[0]
        said.append(answers)
    assert np.array_equal(said[0]["encode"], said[1]["encode"])
    for kind, allowed in (("decode", 0.05), ("vocode", 0.02)):
        a, b = (answers[kind] for answers in said)
        assert b.dtype == np.float32
        assert 0 < np.abs(a - b).mean() <= allowed * np.abs(a).max()
    packed = [sum(state.nbytes for state in e._residents["vocode"].states) for e in (whole, lowered)]
    assert packed[1] < packed[0]


def test_shipped_weights_in_half_the_bits_lose_nothing_that_is_heard() -> None:
    """ESTOI of the sound against the original moves by less than a hundredth; no click at the seams."""
    pystoi = pytest.importorskip("pystoi")
    whole = TorchEngine("base")
    pcm = voice(whole.descriptor, 45)
    codes, scores = None, []
    for engine in (whole, TorchEngine("base", dtype="float16")):
        row = engine.open()
        mel = engine.step([Work(row, "mel", pcm, 0.0)])[0]
        found = engine.step([Work(row, "encode", mel, 0.0)])[0]
        codes = found if codes is None else codes
        assert np.array_equal(found, codes)
        frames = [engine.step([Work(row, "decode", codes[i : i + 1], 0.0)])[0] for i in range(len(codes))]
        out = np.concatenate([engine.step([Work(row, "vocode", frame, 0.0)])[0] for frame in frames])
        delay, shape = engine.descriptor.delay_samples, engine.descriptor
        scores.append(pystoi.stoi(pcm[:-delay], out[delay:], shape.rate_hz, extended=True))
        assert clicks(out, np.arange(1, len(codes)) * shape.frame_samples, shape.rate_hz).good
    assert abs(scores[0] - scores[1]) < 0.01


# ---- devices ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("abacus", "there is no device 'abacus'; choose cpu, cuda or cuda:N"),
        ("meta", "there is no device 'meta'"),
        ("cuda:x", "there is no device 'cuda:x'"),
        ("", "there is no device ''"),
    ],
)
def test_a_device_that_is_none_is_one_line(name: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as told:
        find_device(name)
    assert "\n" not in str(told.value)


def test_no_gpu_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match="--device cuda: there is no CUDA GPU here"):
        TorchEngine("micro", device="cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(UsageError, match="--device cuda:2: there are 2 GPUs here"):
        find_device("cuda:2")
    assert find_device("cuda:1") == torch.device("cuda:1")
    assert find_device("cuda") == torch.device("cuda:0")


def test_griffin_lim_knows_no_gpu_and_no_fewer_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="Griffin-Lim runs on the processor in float32"):
        TorchEngine("micro", vocoder="griffin-lim", dtype="float16")
    monkeypatch.setattr(torch_engine, "find_device", lambda name: torch.device("cuda:0"))
    with pytest.raises(UsageError, match="Griffin-Lim runs on the processor"):
        TorchEngine("micro", vocoder="griffin-lim", device="cuda")
    with pytest.raises(ValueError, match="no network to lower"):
        lower(load_codec("micro", vocoder="griffin-lim"), torch.float16)


# ---- the talker ------------------------------------------------------------------------------------------------

CLAUSE = "ʌ hˈI ðˈɛɹ, hˈI."


@cache
def _folder() -> Path:
    import tempfile

    folder = Path(tempfile.mkdtemp())
    tiny_talk.write_codec(folder)
    tiny_talk.write_talker(folder)
    return folder


def talks(place: Place, rows: int) -> Talks:
    codec_hash = tiny_talk.graphs()[0].model_hash
    path = next(_folder().glob("*talker*"))
    device = torch.device(place.device)
    record = CudaRecorder(device) if place.record is None and device.type == "cuda" else place.record
    return TorchTalk(*load_talker(path, TINY, codec_hash), rows, device, record)


def speaker(talker: Talks, rows: int) -> TalkEngine:
    return TalkEngine(OnnxEngine(rows=rows, codec=tiny_talk.graphs()[0]), TINY, talker)


def said_by(engine: TalkEngine, manner: Manner, n_frames: int) -> np.ndarray:
    row = engine.open()
    score = engine.step([Work(row, "read", Reading(CLAUSE, manner), 0.0)])[0]
    codes = [
        engine.step([Work(row, "talk", Moment(score, frame % score.n_frames), 0.0, fresh=frame == 0)])[0]
        for frame in range(n_frames)
    ]
    engine.close(row)
    return np.concatenate(codes)


@each_place
@pytest.mark.parametrize(
    "manner", [Manner(seed=3), Manner(seed=4, temperature=1.5, top_k=2000, voice=1), Manner(temperature=0.0)]
)
def test_a_seed_says_the_same_on_every_backend(place: Place, manner: Manner) -> None:
    """To the code: past the window, among all codes and among few, and where the likeliest is taken."""
    torch_says = said_by(speaker(talks(place, 1), 1), manner, 3 * TINY_WINDOW)
    onnx_says = said_by(speaker(OnnxTalk(tiny_talk.graphs()[1], 1), 1), manner, 3 * TINY_WINDOW)
    assert np.array_equal(torch_says, onnx_says)


TINY_WINDOW = 8


@pytest.mark.parametrize("place", [HERE, FIXED], ids=["cpu", "cpu in fixed shapes"])
def test_only_a_step_that_is_recorded_orders_all_codes(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A graph cannot look how many its rows choose among; who can, orders no more than those."""
    engine, ordered, topk = speaker(talks(place, 1), 1), set[int](), torch.Tensor.topk

    def watched(logits: torch.Tensor, k: int, *rest: Any) -> Any:
        ordered.add(k)
        return topk(logits, k, *rest)

    monkeypatch.setattr(torch.Tensor, "topk", watched)
    said_by(engine, Manner(top_k=5), 2)
    assert ordered == {5 if place is HERE else TINY.book_size}


@fixed_places
def test_a_clause_is_read_the_same_in_a_step_that_fills_it_up(place: Place) -> None:
    filled, alone = talks(place, 1), talks(HERE, 1)
    chance = np.random.default_rng(0)
    for n in (1, LENGTHS[0] - 1, LENGTHS[0], LENGTHS[0] + 1, LENGTHS[-1], LENGTHS[-1] + 1, 2):
        symbols, voice = chance.integers(0, alone.about.config.symbols, n), n % 2
        for mine, other in zip(filled.clause(symbols, voice), alone.clause(symbols, voice), strict=True):
            assert mine.shape == other.shape
            assert len(mine) == n
            np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("place", [GPU])
def test_graphs_of_an_engine_that_is_gone_do_not_break_those_of_the_next(place: Place) -> None:
    often = gc.get_threshold()
    gc.set_threshold(10, 1, 1)
    try:
        for _ in range(3):
            make(place)
    finally:
        gc.set_threshold(*often)


@each_place
def test_rows_of_a_talker_do_not_hear_each_other(place: Place) -> None:
    engine = speaker(talks(place, 3), 3)
    scores: dict[int, Any] = {}

    def step(row: int, frame: int) -> Work:
        if row not in scores:
            scores[row] = engine.step([Work(row, "read", Reading(CLAUSE, Manner(seed=row, top_k=5 + row)), 0.0)])[0]
        return Work(row, "talk", Moment(scores[row], frame % scores[row].n_frames), 0.0, fresh=frame == 0)

    assert check_talker(engine, step, 20).good


@fixed_places
def test_talking_rows_without_work_keep_every_bit(place: Place) -> None:
    talker = talks(place, 4)
    assert isinstance(talker, TorchTalk)
    shape = talker.about.config
    before = [state.clone() for state in talker._resident.states]
    condition = np.zeros((3, shape.mels_per_frame, shape.condition_width), np.float32)
    draw = Draw(np.zeros((3, *shape.frame_shape), np.float32), np.ones(3, np.float32), np.full(3, 4))
    talker.step([3, 0, 1], condition, np.zeros(3, np.int64), draw)
    for old, new in zip(before, talker._resident.states, strict=True):
        assert [not torch.equal(old[row], new[row]) for row in range(4)] == [True, True, False, True]
    talker.reset(3)
    for old, new in zip(before, talker._resident.states, strict=True):
        assert torch.equal(old[3], new[3])


def test_an_engine_brings_the_talker_of_its_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    path = next(_folder().glob("*talker*"))
    codec_hash = tiny_talk.graphs()[0].model_hash
    onnx = OnnxEngine(rows=2, codec=tiny_talk.graphs()[0])
    assert isinstance(onnx.make_talker(path), OnnxTalk)
    engine = make(FIXED, "hifigan", rows=2)
    monkeypatch.setattr(engine, "_descriptor", onnx.descriptor)
    found = engine.make_talker(path)
    assert isinstance(found, TorchTalk)
    assert found.about.model_hash == codec_hash
    assert found.row_bytes > 0


def test_many_rows_draw_what_each_draws_alone() -> None:
    """From so many rows on several threads draw."""
    rows = 70
    engine = speaker(OnnxTalk(tiny_talk.graphs()[1], rows), rows)
    scores = [engine.step([Work(i, "read", Reading(CLAUSE, Manner(seed=i)), 0.0)])[0] for i in range(rows)]
    for _ in range(rows):
        engine.open()
    for frame in range(2):
        moments = [Work(i, "talk", Moment(score, frame), 0.0) for i, score in enumerate(scores)]
        said = engine.step(moments)
        if frame == 1:
            alone = speaker(OnnxTalk(tiny_talk.graphs()[1], 1), 1)
            for i in (0, 33, 69):
                alone.step([Work(0, "talk", Moment(scores[i], 0), 0.0, fresh=True)])
                assert np.array_equal(alone.step([Work(0, "talk", Moment(scores[i], 1), 0.0)])[0], said[i])
