"""The loops, tiny and on CPU: they learn, they resume exactly, they stop at what cannot be mended."""

import dataclasses
import json
import math
from pathlib import Path

import pytest
import soundfile
import torch
from torch import nn

from sottovoce.models.checkpoint import load_codec, load_net, save
from sottovoce.models.config import TINY, VOCODERS, Preset
from sottovoce.models.mel import LogMel
from sottovoce.models.streaming import whole
from sottovoce.training import codec, evaluate, vocoder
from sottovoce.training.data import Speech
from sottovoce.training.run import Diverged, Run
from sottovoce.training.rvq_table import compare
from support.voice import voice


def codec_run(data: Path, out: Path, steps: int, stop_at: int | None = None) -> nn.Module:
    config = codec.Config(steps=steps, batch=4, clip_s=0.5, start_batches=4)
    return codec.train(TINY, config, data, Run(out, stop_at or steps, math.inf, save_every_s=0, log_every=1))


VOCOS = dataclasses.replace(TINY, vocoder=VOCODERS["tiny"]["vocos"])


def vocoder_run(data: Path, out: Path, steps: int, stop_at: int | None = None, preset: Preset = VOCOS) -> nn.Module:
    config = vocoder.Config(steps=steps, judged_from=2, batch=2, clip_s=0.2, judged_s=0.15, judge_width=4)
    return vocoder.train(preset, config, data, Run(out, stop_at or steps, math.inf, save_every_s=0, log_every=1))


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
    for_codec = codec.Config(steps=6, batch=4, clip_s=0.5, start_batches=4, device="cuda")
    for_vocoder = vocoder.Config(steps=6, judged_from=2, batch=2, clip_s=0.2, judged_s=0.15, device="cuda")
    for stop_at in (3, 6):
        net = codec.train(TINY, for_codec, packed, Run(tmp_path / "codec", stop_at, math.inf, log_every=1))
        vocoder.train(VOCOS, for_vocoder, packed, Run(tmp_path / "vocoder", stop_at, math.inf, log_every=1), net)
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
    vocoder.train(preset, config, packed, Run(tmp_path, 40, math.inf, log_every=1))
    rows = logged(tmp_path)
    assert rows[-1]["spectrum"] < 0.8 * rows[0]["spectrum"]


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path: Path) -> None:
    run = Run(tmp_path, 10, math.inf)
    for _ in run.steps():
        with pytest.raises(Diverged, match="step 0: loss not finite"):
            run.log(loss=float("nan"), other=1.0)
        break


def test_a_dead_book_stops_the_run(packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "LEAST_PERPLEXITY", 1.01)
    monkeypatch.setattr(codec, "PATIENCE_STEPS", 1)
    with pytest.raises(Diverged, match="of its codes"):
        codec_run(packed, tmp_path, 10)


def test_trained_weights_are_measured(packed: Path, tmp_path: Path) -> None:
    """Train, save, load, evaluate: the files one step writes are those the next one reads."""
    net = codec_run(packed, tmp_path / "codec", 5)
    save(tmp_path / "tiny-codec.safetensors", net, TINY, "codec", {"steps": "5"})
    through_codec = load_net(tmp_path / "tiny-codec.safetensors")
    config = vocoder.Config(steps=3, judged_from=1, batch=2, clip_s=0.2, judge_width=4)
    sound = vocoder.train(TINY, config, packed, Run(tmp_path / "vocoder", 3, math.inf), through_codec)
    save(tmp_path / "tiny-vocoder.safetensors", sound, TINY, "vocoder", {"steps": "3"})
    clips = tmp_path / "clips"
    clips.mkdir()
    soundfile.write(clips / "a.wav", voice(1.5, 130), TINY.rate_hz)
    recordings = evaluate.read_folder(clips, TINY.rate_hz, None)
    loaded = load_codec("tiny", tmp_path, "neural")
    row, files = evaluate.measure(loaded, "tiny-2", 2, recordings, tmp_path / "out")
    assert row.bits_per_s == 2 * 5 * 25
    assert 0 < row.mel_distance < 10
    assert soundfile.info(files[0]).frames == len(recordings[0].pcm)
    assert "tiny-2" in evaluate.as_table([row])


def test_our_quantiser_is_no_worse_than_the_known_one() -> None:
    cells = [cell for seed in range(2) for cell in compare(8, 16, [1, 4], steps=60, batch=1024, seed=seed)]
    ours, theirs = (sum(math.log(getattr(cell, name)) for cell in cells) for name in ("ours", "theirs"))
    assert math.exp((ours - theirs) / len(cells)) < 1.05
    assert cells[1].ours < cells[0].ours
