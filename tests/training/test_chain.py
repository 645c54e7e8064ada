"""The whole chain, trained end to end: what reaches whom, what stays, what is written."""

import dataclasses
import json
import math
import sys
from pathlib import Path

import pytest
import torch

from sottovoce.models.checkpoint import load_codec, load_net, load_vocoder, save
from sottovoce.models.codec import MelCodec
from sottovoce.models.config import MICRO, TINY, VOCODERS
from sottovoce.models.mel import LogMel
from sottovoce.models.streaming import whole
from sottovoce.models.weight_file import CheckpointError
from sottovoce.training import chain, codec, vocoder
from sottovoce.training.adversary import JudgeConfig
from sottovoce.training.data import Speech
from sottovoce.training.discriminators import KINDS
from sottovoce.training.losses import MultiScaleMel
from sottovoce.training.run import Run

JUDGES = JudgeConfig(kinds=KINDS, judged_s=0.15, width=4)
VOCOS = dataclasses.replace(TINY, vocoder=VOCODERS["tiny"]["vocos"])


@pytest.fixture(scope="module")
def weights(packed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A codec and a vocoder that have begun to learn."""
    folder = tmp_path_factory.mktemp("weights")
    net = codec.train(
        TINY, codec.Config(steps=30, batch=4, clip_s=0.5, start_batches=4), packed, Run(folder / "c", 30, math.inf)
    )
    save(folder / "tiny-codec.safetensors", net, TINY, "codec", {})
    config = vocoder.Config(steps=30, judged_from=30, batch=2, clip_s=0.2, judges=JUDGES)
    sound = vocoder.train(VOCOS, config, packed, Run(folder / "v", 30, math.inf))
    save(folder / "tiny-vocoder.safetensors", sound, VOCOS, "vocoder", {})
    return folder


def chain_run(
    data: Path, weights: Path, out: Path, steps: int, stop_at: int | None = None, **options: object
) -> tuple[torch.nn.Module, torch.nn.Module]:
    files = weights / "tiny-codec.safetensors", weights / "tiny-vocoder.safetensors"
    config = chain.Config(steps=steps, judged_from=2, batch=2, clip_s=0.25, judges=JUDGES, **options)  # type: ignore[arg-type]
    run = Run(out, steps if stop_at is None else stop_at, math.inf, save_every_s=0)
    return chain.train(chain.read_preset(*files, "tiny"), config, data, run, *files)


def test_a_resumed_run_is_an_uninterrupted_one(packed: Path, weights: Path, tmp_path: Path) -> None:
    through = chain_run(packed, weights, tmp_path / "through", 6)
    chain_run(packed, weights, tmp_path / "broken", 6, stop_at=3)
    resumed = chain_run(packed, weights, tmp_path / "broken", 6)
    for one, other in zip(through, resumed, strict=True):
        for key, value in one.state_dict().items():
            assert torch.equal(value, other.state_dict()[key]), key
    logs = [
        [json.loads(line) for line in (tmp_path / name / "log.jsonl").read_text().splitlines()]
        for name in ("through", "broken")
    ]
    for row in logs[0] + logs[1]:
        del row["trained_s"]
    assert logs[0] == logs[1]
    assert [row["step"] for row in logs[0]] == list(range(6))


def test_what_the_sound_lacks_reaches_the_encoder_and_leaves_the_books(
    packed: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With nothing but the spectrum of the sound to learn from."""
    monkeypatch.setattr(chain, "MEL_WEIGHTS", {"mel": 1e-9, "sound": 1.0})
    before = load_net(weights / "tiny-codec.safetensors").state_dict()
    net, _ = chain_run(packed, weights, tmp_path, 2, commitment=0.0)
    after = net.state_dict()
    moved = {key for key, value in after.items() if not torch.equal(value, before[key])}
    assert {"analysis.view.conv.weight", "quantiser.down.0.weight", "quantiser.down.3.weight"} <= moved
    assert {"quantiser.up.0.weight", "synthesis.view.conv.weight"} <= moved
    assert not [key for key in moved if key.endswith(".vectors")]


def test_it_learns_to_sound_closer(packed: Path, weights: Path, tmp_path: Path) -> None:
    """The same speech through the chain before the first step and after the last, at two of four books."""
    started = chain_run(packed, weights, tmp_path / "started", 1, stop_at=0, lr=1e-3)
    trained = chain_run(packed, weights, tmp_path / "trained", 40, lr=1e-3)
    front_end, spectrum = LogMel(TINY.mel), MultiScaleMel(TINY.rate_hz)
    pcm = torch.cat([Speech(packed, TINY.rate_hz, 12_480, 4, seed=1).draw(step)[0] for step in range(4)])
    distances = []
    for net, sound in (started, trained):
        with torch.no_grad():
            decoded, _ = net.eval()(whole(front_end, pcm), torch.full((len(pcm),), 2))
            distances.append(float(spectrum(whole(sound.eval(), decoded), vocoder.in_line(pcm, front_end))))
    print(distances)
    assert distances[1] < 0.95 * distances[0]


def test_the_command_writes_both_files_and_they_are_one_codec(
    packed: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["chain", "--preset", "tiny", "--data", packed, "--out", tmp_path / "run", "--weights", tmp_path / "w",
                 "--codec", weights / "tiny-codec.safetensors", "--vocoder", weights / "tiny-vocoder.safetensors",
                 "--steps", "2", "--batch", "2", "--clip-s", "0.25", "--judge-width", "4", "--listen-every", "0"]  # fmt: skip
    monkeypatch.setattr(sys, "argv", [str(argument) for argument in arguments])
    chain.main()
    made, given = load_codec("tiny", tmp_path / "w", "neural"), load_net(weights / "tiny-codec.safetensors")
    pcm, _ = made(torch.zeros(1, TINY.frame_samples * 3), made.initial_state(1), books=2)
    assert pcm.shape == (1, TINY.frame_samples * 3)
    assert made.preset.vocoder == VOCOS.vocoder
    assert any(not torch.equal(a, b) for a, b in zip(given.state_dict().values(),
        load_net(tmp_path / "w" / "tiny-codec.safetensors").state_dict().values(), strict=True))  # fmt: skip


def refused(arguments: list[object], monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(sys, "argv", [str(argument) for argument in arguments])
    with pytest.raises(SystemExit) as ended:
        chain.main()
    assert isinstance(ended.value.code, str)
    assert "\n" not in ended.value.code
    return ended.value.code


def test_bad_input_is_one_line(packed: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = ["--codec", weights / "tiny-codec.safetensors", "--vocoder", weights / "tiny-vocoder.safetensors"]
    common = ["chain", "--out", tmp_path / "run", "--steps", "1", "--clip-s", "0.25", "--batch", "2"]
    tiny = [*common, "--preset", "tiny", "--data", packed]
    assert "give --preset tiny" in refused([*common, "--data", packed, *files], monkeypatch)
    assert "tiny-nothing" in refused([*tiny, *files[:3], weights / "tiny-nothing"], monkeypatch)
    assert "not a codec" in refused([*tiny, "--codec", files[3], *files[2:]], monkeypatch)
    assert "no clips.json" in refused([*common, "--preset", "tiny", "--data", tmp_path, *files], monkeypatch)
    assert "not a state" in refused([*tiny, *files, "--judges-from", weights / "v" / "state.pt"], monkeypatch)
    assert "above zero" in refused([*tiny, *files, "--batch", "0"], monkeypatch)
    if not torch.cuda.is_available():
        assert "sees no GPU" in refused([*tiny, *files, "--device", "cuda"], monkeypatch)


def test_a_vocoder_of_another_mel_is_refused(weights: Path, tmp_path: Path) -> None:
    sound = vocoder.make_vocoder(MICRO)
    save(path := tmp_path / "micro-vocoder.safetensors", sound, MICRO, "vocoder", {})
    with pytest.raises(CheckpointError):
        chain.read_preset(weights / "tiny-codec.safetensors", path, "tiny")
    assert isinstance(load_net(weights / "tiny-codec.safetensors"), MelCodec)
    load_vocoder(weights / "tiny-vocoder.safetensors", TINY)
