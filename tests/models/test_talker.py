"""The talker: what a logit may know, what it must know, that its past is bounded, and that it learns to say what it reads."""

import dataclasses
from functools import cache

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sottovoce.models.config import BASE, MICRO, TINY
from sottovoce.models.frame_transformer import FrameTransformer
from sottovoce.models.phoneme_encoder import SymbolConv
from sottovoce.models.rotary import frequencies
from sottovoce.models.rvq import ResidualQuantiser
from sottovoce.models.sampling import Sampling
from sottovoce.models.speaking import speak
from sottovoce.models.streaming import in_chunks, select_rows, tree_map, whole
from sottovoce.models.symbols import SYMBOLS, ids
from sottovoce.models.talker import Talker
from sottovoce.models.talker_config import TALKER_REFERENCE, TALKER_TINY, TALKERS

MICRO_LIKE = dataclasses.replace(
    TALKER_REFERENCE, width=32, layers=2, heads=2, encoder_width=32, encoder_layers=1, window=6
)
KINDS = {"depth model": TALKER_TINY, "two heads": MICRO_LIKE}
FRAMES = 6


@pytest.fixture(params=KINDS, ids=KINDS)
def talker(request: pytest.FixtureRequest) -> Talker:
    torch.manual_seed(0)
    return Talker(KINDS[request.param]).eval()


def an_utterance(talker: Talker, rows: int = 1, frames: int = FRAMES) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Codes, symbols, slots and voice; four symbols of even length."""
    config = talker.config
    torch.manual_seed(1)
    codes = torch.randint(0, config.book_size, (rows, frames, config.books))
    symbols = torch.from_numpy(ids("tɛst")).expand(rows, -1)
    total = frames * config.mels_per_frame
    slots = torch.tensor([total // 4] * 3 + [total - total // 4 * 3]).expand(rows, -1)
    return codes, symbols, slots, torch.zeros(rows, dtype=torch.int64)


def influence(talker: Talker, frame: int, book: int) -> Tensor:
    """[T, Q]: how much the logits of one code change with the embedding of each code that was said."""
    codes, symbols, slots, voice = an_utterance(talker)
    embedded: list[Tensor] = []

    def keep(_module: object, _inputs: object, output: Tensor) -> Tensor:
        embedded.append(output.detach().requires_grad_())
        return embedded[-1]

    hook = talker.codes.register_forward_hook(keep)
    logits = talker.logits(codes, symbols, slots, voice)
    hook.remove()
    before, inside = torch.autograd.grad(logits[0, frame, book].square().sum(), embedded, allow_unused=True)
    touched = torch.zeros(codes.shape[1:])
    touched[:-1] += before[0, 1:].abs().sum(-1)  # the transformer was handed them one frame later
    return touched if inside is None else touched + inside.abs().sum(-1)


@pytest.mark.parametrize("frame", range(FRAMES))
def test_a_logit_knows_every_code_before_it_and_none_after(talker: Talker, frame: int) -> None:
    """The frames before, whole; of its own frame the books before; neither itself nor anything later."""
    config = talker.config
    for book in range(config.books):
        known = influence(talker, frame, book) > 0
        expected = torch.zeros(FRAMES, config.books, dtype=torch.bool)
        expected[:frame] = True
        expected[frame, : book if config.depth_blocks else 0] = True
        assert torch.equal(known, expected)


def test_condition_t_enters_step_t_with_the_codes_of_step_t_minus_one(talker: Talker) -> None:
    """Lag 0: training all at once is stepping with exactly that pairing; a frame earlier or later is something else."""
    codes, symbols, slots, voice = an_utterance(talker)
    encodings, _ = talker.encode(symbols, voice)
    condition = talker.condition(encodings, slots, FRAMES)
    expected = talker.logits(codes, symbols, slots, voice)

    def stepped(lag: int) -> Tensor:
        state, previous, found = talker.initial_state(1), talker.start_frame(1), []
        for t in range(FRAMES):
            hidden, state = talker.step(previous, condition[:, (t + lag) % FRAMES], voice, state)
            found.append(talker.book_logits(hidden, codes[:, t]))
            previous = codes[:, t]
        return torch.stack(found, 1)

    assert torch.allclose(stepped(0), expected, atol=1e-5)
    for lag in (-1, 1):
        assert not torch.allclose(stepped(lag), expected, atol=1e-3)


def test_a_frame_is_told_the_symbols_of_its_own_slots() -> None:
    """By hand: slots 3, 2, 0 and 3 of four to the frame."""
    talker = Talker(TALKER_TINY)
    encodings = torch.arange(1.0, 5)[None, :, None].expand(1, 4, TALKER_TINY.encoder_width)
    told = talker.condition(encodings, torch.tensor([[3, 2, 0, 3]]), 3)
    assert told[0, :, :, 0].tolist() == [[1, 1, 1, 2], [2, 4, 4, 4], [4, 4, 4, 4]]  # its end passed, the last goes on
    spoken, left = told[0, :2, :, -2:].exp().sub(1).round().unbind(-1)
    assert spoken.tolist() == [[0, 1, 2, 0], [1, 0, 1, 2]]
    assert left.tolist() == [[2, 1, 0, 1], [0, 2, 1, 0]]


def test_rows_of_many_clauses_are_those_that_a_stream_speaks(talker: Talker) -> None:
    """Each clause encoded by itself, the frames of a row one stream; the other row starts in the middle of neither."""
    config = talker.config
    per_frame = config.mels_per_frame
    torch.manual_seed(6)
    symbols = torch.from_numpy(np.stack([ids("tɛst"), np.append(ids("sI"), [-1, -1]), ids("bˈiz")]))
    slots = torch.tensor([[2, 1, 0, 1], [1, 1, 0, 0], [1, 1, 1, 1]]) * per_frame
    clause_voice, voice = torch.tensor([0, 0, 1]), torch.tensor([0, 1])
    codes = torch.randint(0, config.book_size, (2, 4, config.books))
    encodings, _ = talker.encode(symbols, clause_voice)
    parts = [
        talker.condition(encodings[i : i + 1], slots[i : i + 1], int(slots[i].sum()) // per_frame) for i in range(3)
    ]
    stream = torch.cat(parts[:2], 1)[:, :4]  # a row that ends within its second clause
    spoken = torch.tensor([[0] * 2 + [1] + [3], [8, 9, 10, 11]]).repeat_interleave(per_frame, 1)
    progress = torch.cat([stream, parts[2]])[..., -2:]
    told = talker.tell(encodings, spoken, progress)
    assert torch.allclose(told[:1], stream, atol=1e-5)
    hidden = talker.follow(codes, told, voice)
    state, previous = talker.initial_state(1), talker.start_frame(1)
    for t in range(4):
        alone, state = talker.step(previous, stream[:, t], voice[:1], state)
        assert torch.allclose(hidden[:1, t], alone, atol=1e-5)
        previous = codes[:1, t]
    assert torch.allclose(told[1:], parts[2], atol=1e-5)


def test_every_frame_depends_on_its_symbols_and_voice(talker: Talker) -> None:
    codes, symbols, slots, voice = an_utterance(talker)
    logits = talker.logits(codes, symbols, slots, voice)
    for t in range(FRAMES):
        for book in range(talker.config.books):
            gradients = torch.autograd.grad(
                logits[0, t, book].square().sum(),
                [talker.encoder.symbols.weight, talker.voices.weight],
                retain_graph=True,
            )
            assert all(float(gradient.abs().sum()) > 0 for gradient in gradients)


def test_every_weight_gets_a_gradient_from_the_losses_that_train_it(talker: Talker) -> None:
    codes, symbols, slots, voice = an_utterance(talker)
    hidden, log_durations = talker.hidden(codes, symbols, slots, voice)
    loss = F.cross_entropy(talker.book_logits(hidden, codes).flatten(0, 2), codes.flatten())
    (loss + F.mse_loss(log_durations, torch.log1p(slots.float()))).backward()
    silent = [name for name, weight in talker.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert silent == []


def test_what_fills_up_a_row_changes_nothing(talker: Talker) -> None:
    codes, symbols, slots, voice = an_utterance(talker)
    alone, durations = talker.hidden(codes, symbols, slots, voice)
    longer = F.pad(symbols, (0, 3), value=-1)
    filled = F.pad(codes, (0, 0, 0, 2), value=-1)
    both = [torch.cat([x, torch.randint_like(x, 1, 5)]) for x in (filled, longer)]
    rows, of_rows = talker.hidden(
        *both, torch.cat([F.pad(slots, (0, 3)), torch.ones(1, 7).long()]), torch.tensor([0, 1])
    )
    assert torch.allclose(rows[:1, :FRAMES], alone, atol=1e-5)
    assert torch.allclose(of_rows[:1, :4], durations, atol=1e-5)
    assert torch.allclose(talker.book_logits(rows[:1, :FRAMES], codes), talker.book_logits(alone, codes), atol=1e-4)


def test_disturbed_codes_are_heard_but_not_asked_for(talker: Talker) -> None:
    codes, symbols, slots, voice = an_utterance(talker)
    heard = codes.roll(1, -1)
    found = talker.logits(codes, symbols, slots, voice, heard)
    hidden, _ = talker.hidden(heard, symbols, slots, voice)
    assert torch.equal(found, talker.book_logits(hidden, codes))
    assert not torch.allclose(found, talker.logits(codes, symbols, slots, voice), atol=1e-3)


def test_books_chosen_one_by_one_have_the_logits_of_all_at_once(talker: Talker) -> None:
    hidden = torch.randn(3, talker.config.width)
    noise = torch.randn(3, talker.config.books, talker.config.book_size)
    codes, logits = talker.write(hidden, noise, torch.tensor([1, 5, 5000]))
    assert torch.allclose(logits, talker.book_logits(hidden, codes), atol=1e-5)
    assert torch.equal(codes[0], logits[0].argmax(-1))  # top-k of one leaves noise no say
    assert torch.equal(codes[2], (logits + noise)[2].argmax(-1))
    ranks = (logits[1] > logits[1].gather(-1, codes[1][:, None])).sum(-1)
    assert int(ranks.max()) < 5


# The past of a stream


def by_hand(module: FrameTransformer, x: Tensor) -> Tensor:
    """The same transformer written plainly, in double precision: absolute positions, one banded mask, no ring."""
    steps, window, width = x.shape[0], module.window, module.head_width
    place = torch.arange(steps)
    ago = place[:, None] - place
    band = torch.where((ago >= 0) & (ago <= window), 0.0, -torch.inf).double()
    turn = torch.polar(torch.ones(1, 1).double(), place[:, None] * torch.from_numpy(frequencies(width)))

    def turned(y: Tensor) -> Tensor:  # [heads, T, d]
        z = torch.complex(*y.chunk(2, -1)) * turn
        return torch.cat([z.real, z.imag], -1)

    for block in module.blocks:
        attention = block.attention
        parts = attention.enter(block.attention_norm(x)).unflatten(-1, (3, attention.heads, width)).permute(1, 2, 0, 3)
        scores = turned(parts[0]) @ turned(parts[1]).transpose(1, 2) / width**0.5 + band
        heard = (scores.softmax(-1) @ parts[2]).transpose(0, 1).flatten(1)
        x = x + attention.leave(heard)
        x = x + block.feed_forward(block.norm(x))
    return module.norm(x)


@pytest.mark.parametrize("window", [8, 100])
def test_a_thousand_frames_one_by_one_are_a_pass_with_a_sliding_mask(window: int) -> None:
    torch.manual_seed(2)
    module = FrameTransformer(dataclasses.replace(TALKER_TINY, window=window)).eval().requires_grad_(False)
    x = torch.randn(1, 1000, TALKER_TINY.width)
    expected = by_hand(module.double(), x[0].double())
    stepped = in_chunks(module.float(), x, [1] * 1000, 1, 1)
    assert float((stepped[0] - expected).abs().max()) <= 1e-5 * float(expected.abs().max())
    assert float((whole(module, x)[0] - expected).abs().max()) <= 1e-5 * float(expected.abs().max())


def test_ten_minutes_do_not_drift_and_memory_is_constant() -> None:
    """15 000 frames: what the last ones say is what they say after any beginning, to the bit of float32."""
    torch.manual_seed(3)
    module = FrameTransformer(dataclasses.replace(TALKER_TINY, layers=2)).eval().requires_grad_(False)
    reach = TALKER_TINY.layers * TALKER_TINY.window  # frames by which the past can be felt
    x = torch.randn(1, 15_000, TALKER_TINY.width)
    state = module.initial_state(1)
    sizes = set()
    for piece in x[:, : -reach - 5].split(500, 1):
        _, state = module(piece, state)
        sizes.add(tuple(part.shape for ring in state.rings for part in ring))
    assert len(sizes) == 1
    assert float(state.seen) == TALKER_TINY.window
    said = []
    for frame in x[:, -reach - 5 :].split(1, 1):
        y, state = module(frame, state)
        said.append(y)
    late = torch.cat(said, 1)[:, -5:]
    expected = by_hand(module.double(), x[0, -reach - 5 :].double())[-5:]
    assert float((late[0] - expected).abs().max()) <= 1e-5 * float(expected.abs().max())


def test_the_past_beyond_the_reach_of_all_layers_is_forgotten_and_within_it_is_not() -> None:
    torch.manual_seed(4)
    config = TALKER_TINY
    module = FrameTransformer(config).eval()
    reach = config.layers * config.window
    x = torch.randn(1, reach + 2, config.width, requires_grad=True)
    (gradient,) = torch.autograd.grad(whole(module, x)[0, -1].square().sum(), x)
    felt = gradient[0].abs().sum(-1) > 0
    assert not felt[0]
    assert felt[1:].all()


def test_a_copied_row_goes_on_as_the_one_that_it_was_copied_from() -> None:
    talker = Talker(TALKER_TINY).eval().requires_grad_(False)
    config = talker.config
    voice, condition = torch.zeros(1).long(), torch.randn(1, config.mels_per_frame, config.condition_width)
    state, codes = talker.initial_state(1), talker.start_frame(1)
    for _ in range(3):
        _, state = talker.step(codes, condition, voice, state)
    kept = tree_map(torch.clone, state)
    twins = select_rows(state, torch.tensor([0, 0]))
    both, _ = talker.step(codes.repeat(2, 1), condition.repeat(2, 1, 1), voice.repeat(2), twins)
    alone, _ = talker.step(codes, condition, voice, state)
    assert torch.allclose(both, alone.expand(2, -1), atol=1e-5)
    assert all(torch.equal(a, b) for a, b in zip(kept.rings[0], state.rings[0], strict=True))


# Learning


SLOTS = np.array([8, 4, 8, 4, 8, 8], np.int64)  # of every made utterance, by place: 10 frames


class Language:
    """Made speech: what a frame's codes are is up to its symbol, how far that has got, and the voice."""

    def __init__(self, books: int, book_size: int) -> None:
        random = np.random.default_rng(0)
        self._sound = random.integers(0, book_size, (2, len(SYMBOLS), 2, books))
        self.texts = np.stack([random.permutation(ids("bɛk sI")) for _ in range(6)])
        self.voices = np.array([0, 1] * 3)

    def codes(self, symbols: np.ndarray, voice: int) -> np.ndarray:
        return np.concatenate([self._sound[voice, s, : n // 4] for s, n in zip(symbols, SLOTS, strict=True)])


@cache
def taught() -> tuple[Talker, Language]:
    """A tiny talker that learned six utterances. Now and then it does not hear itself: else it would learn them as tunes."""
    torch.manual_seed(5)
    talker = Talker(TALKER_TINY)
    language = Language(TALKER_TINY.books, TALKER_TINY.book_size)
    texts, voices, slots = torch.from_numpy(language.texts), torch.from_numpy(language.voices), torch.from_numpy(SLOTS)
    codes = torch.from_numpy(
        np.stack([language.codes(*row) for row in zip(language.texts, language.voices, strict=True)])
    )
    optimiser = torch.optim.AdamW(talker.parameters(), 4e-3)
    for _ in range(150):
        heard = torch.where(torch.rand(*codes.shape[:2], 1) < 0.4, -1, codes)
        hidden, log_durations = talker.hidden(heard, texts, slots.expand(len(texts), -1), voices)
        loss = F.cross_entropy(talker.book_logits(hidden, codes).flatten(0, 2), codes.flatten())
        loss = loss + F.mse_loss(log_durations, torch.log1p(slots.float()).expand(len(texts), -1))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return talker.eval().requires_grad_(False), language


def test_it_says_what_it_learned_and_for_as_long() -> None:
    talker, language = taught()
    for text, voice in zip(language.texts, language.voices, strict=True):
        said, took = speak(talker, text, voice)
        assert took.tolist() == SLOTS.tolist()
        assert np.array_equal(said, language.codes(text, voice))
    faster, _ = speak(talker, text, voice, speed=2.0)
    assert len(faster) == len(said) // 2


def test_shuffled_text_or_another_voice_gives_other_codes() -> None:
    """And mostly those that are right for it, though it never heard them in this order."""
    talker, language = taught()
    text, voice = language.texts[0], language.voices[0]
    codes = language.codes(text, voice)
    shuffled = np.roll(text, 1)
    assert not (language.texts == shuffled).all(1).any()
    said, _ = speak(talker, shuffled, voice, slots=SLOTS)
    assert np.mean(said != codes) > 0.8
    assert np.mean(said == language.codes(shuffled, voice)) > 0.5
    said, _ = speak(talker, text, 1 - voice, slots=SLOTS)
    assert np.mean(said != codes) > 0.5


def test_teacher_forced_accuracy_peaks_at_lag_zero() -> None:
    talker, language = taught()
    pairs = list(zip(language.texts, language.voices, strict=True))
    codes = np.stack([language.codes(*pair) for pair in pairs])
    row = (torch.from_numpy(values) for values in (codes, language.texts, np.stack([SLOTS] * len(pairs))))
    said = talker.logits(*row, torch.from_numpy(language.voices)).argmax(-1).numpy()
    right = {lag: np.mean(np.roll(said, lag, 1) == codes) for lag in range(-2, 3)}
    assert right[0] == 1
    assert max(right[lag] for lag in right if lag) < 0.5


def test_a_seed_repeats_its_codes_and_another_says_others() -> None:
    talker, language = taught()
    hot = [speak(talker, language.texts[0], 0, Sampling(3.0, 32, seed), slots=SLOTS)[0] for seed in (1, 1, 2)]
    assert np.array_equal(hot[0], hot[1])
    assert not np.array_equal(hot[0], hot[2])


# Shapes


def test_presets_speak_their_codecs_and_base_is_small_enough() -> None:
    for codec in (BASE, MICRO, TINY):
        (own,) = (config for config in TALKERS.values() if config.codec == codec.name)
        assert own.speaks(codec)
        assert not own.speaks(dataclasses.replace(codec, trunk=dataclasses.replace(codec.trunk, mels_per_frame=3)))
        assert own.symbols == len(SYMBOLS)
    size = sum(weight.numel() for weight in Talker(TALKERS["base"]).parameters())
    assert size <= 11_500_000


def test_it_starts_from_the_vectors_of_its_codec() -> None:
    quantiser = ResidualQuantiser(dataclasses.replace(TINY.quantiser, metric="l2", code_width=16))
    talker = Talker(TALKER_TINY)
    talker.start(quantiser)
    for table, book in zip(talker.codes.tables, quantiser.books, strict=True):
        near = [pairs[:, None].sub(pairs).norm(dim=-1) for pairs in (table[:32], book.vectors)]
        assert torch.allclose(near[0] * book.vectors.std(), near[1], rtol=1e-3, atol=1e-4)
    with pytest.raises(ValueError, match=r"vectors \(32, 4\) for 32 x 16"):
        talker.start(ResidualQuantiser(TINY.quantiser))


@pytest.mark.parametrize("kernel", [3, 5])
def test_a_convolution_over_symbols_is_the_same_as_one_product(kernel: int) -> None:
    torch.manual_seed(0)
    conv, x = SymbolConv(6, kernel), torch.randn(2, 9, 6)
    present = (torch.arange(9) < torch.tensor([[9], [4]]))[..., None].float()
    with torch.no_grad():
        as_product = conv(x, present)
    torch.testing.assert_close(as_product, conv(x, present).detach(), rtol=0, atol=1e-6)
