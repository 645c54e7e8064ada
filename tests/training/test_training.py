"""The loops, tiny and on CPU: they learn, they resume exactly, they stop at what cannot be mended."""

import dataclasses
import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import nn

from sottovoce.models.checkpoint import load_codec, load_net, load_vocoder, save
from sottovoce.models.config import TINY, VOCODERS, Preset
from sottovoce.models.mel import LogMel
from sottovoce.models.streaming import whole
from sottovoce.training import books, codec, vocoder
from sottovoce.training.adversary import JudgeConfig
from sottovoce.training.data import Speech
from sottovoce.training.distributed import Group
from sottovoce.training.precision import Precision
from sottovoce.training.run import Diverged, Run
from sottovoce.training.rvq_table import compare
from support.voice import voice


def codec_run(data: Path, out: Path, steps: int, stop_at: int | None = None) -> nn.Module:
    config = codec.Config(steps=steps, batch=4, clip_s=0.5, start_batches=4)
    return codec.train(TINY, config, data, Run(out, stop_at or steps, math.inf, save_every_s=0, print_every=1))


FAST = Precision(bf16=True, compiled=True)
JUDGES = JudgeConfig(judged_s=0.15, width=4)
VOCOS = dataclasses.replace(TINY, vocoder=VOCODERS["tiny"]["vocos"])


def vocoder_run(data: Path, out: Path, steps: int, stop_at: int | None = None, preset: Preset = VOCOS) -> nn.Module:
    config = vocoder.Config(steps=steps, judged_from=2, batch=2, clip_s=0.2, judges=JUDGES)
    return vocoder.train(preset, config, data, Run(out, stop_at or steps, math.inf, save_every_s=0, print_every=1))


def logged(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("train", [codec_run, vocoder_run], ids=["codec", "vocoder"])
def test_a_resumed_run_is_an_uninterrupted_one(train: "object", packed: Path, tmp_path: Path) -> None:
    assert callable(train)
    through = train(packed, tmp_path / "through", 6)
    train(packed, tmp_path / "broken", 6, stop_at=3)
    resumed = train(packed, tmp_path / "broken", 6)
    for key, value in through.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[key]), key
    assert [row["step"] for row in logged(tmp_path / "broken")] == list(range(6))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA here")
def test_both_loops_run_and_resume_on_a_gpu(packed: Path, tmp_path: Path) -> None:
    """Not bit for bit as on CPU: sums on a GPU have no fixed order."""
    for_codec = codec.Config(steps=6, batch=4, clip_s=0.5, start_batches=4, precision=FAST)
    for_vocoder = vocoder.Config(steps=6, judged_from=2, batch=2, clip_s=0.2, judges=JUDGES, precision=FAST)
    group = Group(device=torch.device("cuda"))
    for stop_at in (3, 6):
        net = codec.train(TINY, for_codec, packed, Run(tmp_path / "codec", stop_at, math.inf, group=group))
        vocoder.train(VOCOS, for_vocoder, packed, Run(tmp_path / "vocoder", stop_at, math.inf, group=group), net)
    assert next(net.parameters()).device.type == "cuda"
    assert [row["step"] for row in logged(tmp_path / "vocoder")] == list(range(6))
    save(tmp_path / "tiny-codec.safetensors", net, TINY, "codec", {})
    assert next(load_net(tmp_path / "tiny-codec.safetensors").parameters()).device.type == "cpu"


def test_the_codec_learns_beyond_its_start(packed: Path, tmp_path: Path) -> None:
    """The same speech before the first step, where components and k-means have placed everything, and after the last."""
    config = codec.Config(steps=120, batch=4, clip_s=0.5, start_batches=4, lr=4e-3)
    started = codec.train(TINY, config, packed, Run(tmp_path / "started", 0, math.inf))
    trained = codec.train(TINY, config, packed, Run(tmp_path / "trained", 120, math.inf))
    pcm = torch.cat([Speech(packed, TINY.rate_hz, 12_480, 4, seed=1).draw(step)[0] for step in range(8)])
    mel = whole(LogMel(TINY.mel), pcm)
    with torch.no_grad():
        before, after = (float((net.eval()(mel)[0] - mel).abs().mean()) for net in (started, trained))
    assert after < 0.95 * before


@pytest.mark.parametrize("preset", [TINY, VOCOS], ids=["hifigan", "vocos"])
def test_the_vocoder_learns(preset: Preset, packed: Path, tmp_path: Path) -> None:
    config = vocoder.Config(steps=40, judged_from=40, batch=2, clip_s=0.2)
    vocoder.train(preset, config, packed, Run(tmp_path, 40, math.inf, print_every=1))
    rows = logged(tmp_path)
    assert rows[-1]["spectrum"] < 0.8 * rows[0]["spectrum"]


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path: Path) -> None:
    run = Run(tmp_path, 10, math.inf)
    for _ in run.steps():
        with pytest.raises(Diverged, match="step 0: loss not finite"):
            run.log(loss=float("nan"), other=1.0)
        break


def test_a_dead_book_stops_the_run(packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(books, "LEAST_PERPLEXITY", 1.01)
    monkeypatch.setattr(books, "PATIENCE_STEPS", 1)
    with pytest.raises(Diverged, match="of its codes"):
        codec_run(packed, tmp_path, 10)


def test_trained_weights_are_those_that_are_loaded(packed: Path, tmp_path: Path) -> None:
    """Train, save, load, play: the files one step writes are those the next one reads."""
    net = codec_run(packed, tmp_path / "codec", 5)
    save(tmp_path / "tiny-codec.safetensors", net, TINY, "codec", {"steps": "5"})
    through_codec = load_net(tmp_path / "tiny-codec.safetensors")
    config = vocoder.Config(steps=3, judged_from=1, batch=2, clip_s=0.2, judges=JUDGES)
    sound = vocoder.train(TINY, config, packed, Run(tmp_path / "vocoder", 3, math.inf), through_codec)
    save(tmp_path / "tiny-vocoder.safetensors", sound, TINY, "vocoder", {"steps": "3"})
    loaded = load_codec("tiny", tmp_path, "neural")
    pcm = torch.from_numpy(voice(0.4, 130))[None]
    played, _ = loaded(pcm, loaded.initial_state(1), books=2)
    with torch.no_grad():
        decoded, _ = net.eval()(whole(LogMel(TINY.mel), pcm), torch.tensor([2]))
        expected = whole(sound, decoded)
    assert float((played - expected).abs().max()) < 0.02 * float(expected.abs().max()) + 1e-3  # float16 between them


def test_the_input_may_be_spoilt_and_the_target_stays_clean(packed: Path, tmp_path: Path) -> None:
    """Noise alone, at every row: the codec that hears it ends elsewhere, and a resumed run hears the same."""
    noises = tmp_path / "noises"
    (noises / "rir").mkdir(parents=True)
    chance = np.random.default_rng(0)
    soundfile.write(noises / "hiss.wav", 0.1 * chance.standard_normal(24_000), 24_000)
    soundfile.write(noises / "rir" / "room.wav", np.exp(-np.arange(2400) / 300) * chance.standard_normal(2400), 24_000)

    def run(name: str, steps: int, folder: Path | None) -> dict[str, torch.Tensor]:
        config = codec.Config(steps=4, batch=2, clip_s=0.5, start_batches=4, augment=folder)
        return codec.train(TINY, config, packed, Run(tmp_path / name, steps, math.inf)).state_dict()

    clean, spoilt = run("clean", 4, None), run("spoilt", 4, noises)
    run("broken", 2, noises)
    resumed = run("broken", 4, noises)
    assert all(torch.equal(value, resumed[key]) for key, value in spoilt.items())
    assert not torch.equal(clean["analysis.view.conv.weight"], spoilt["analysis.view.conv.weight"])
    with pytest.raises(ValueError, match="no recordings of noise"):
        run("empty", 4, noises / "rir" / "none")


def test_old_names_of_options_still_work(packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command lines that runs were started with."""
    common = ["--preset", "tiny", "--data", str(packed), "--threads", "1", "--steps", "2", "--batch", "2"]
    weights = tmp_path / "c" / "tiny-codec.safetensors"
    for module, options in (
        (codec, ["--out", str(tmp_path / "c"), "--encoder-share", "1", "--commitment", "6", "--lr", "5e-4"]),
        (codec, ["--out", str(tmp_path / "f"), "--start-from", str(weights), "--fix-books", "--minutes", "9"]),
        (vocoder, ["--out", str(tmp_path / "v"), "--codec", str(weights), "--judged-from", "1", "--clip-s", "0.4"]),
        (vocoder, ["--out", str(tmp_path / "h"), "--vocoder", "vocos", "--judges-at-once", "5", "--balance"]),
    ):
        monkeypatch.setattr(sys, "argv", ["train", *common, *options])
        module.main()
    monkeypatch.undo()
    started, fixed = load_net(weights).state_dict(), load_net(tmp_path / "f" / "tiny-codec.safetensors").state_dict()
    assert all(torch.equal(value, fixed[key]) for key, value in started.items() if key.endswith(".vectors"))
    load_vocoder(tmp_path / "h" / "tiny-vocoder.safetensors", VOCOS)
    load_vocoder(tmp_path / "v" / "tiny-vocoder.safetensors", TINY)


def test_our_quantiser_is_no_worse_than_the_known_one() -> None:
    cells = [cell for seed in range(2) for cell in compare(8, 16, [1, 4], steps=60, batch=1024, seed=seed)]
    ours, theirs = (sum(math.log(getattr(cell, name)) for cell in cells) for name in ("ours", "theirs"))
    assert math.exp((ours - theirs) / len(cells)) < 1.05
    assert cells[1].ours < cells[0].ours
