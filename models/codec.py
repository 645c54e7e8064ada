"""The codec: front end, encoder, quantiser, decoder and vocoder joined, each a streaming module of its own.

pcm --mel--> mel --encoder--> codes --decoder--> mel --vocoder--> pcm
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from .config import Preset
from .griffin_lim import StreamingGriffinLim
from .mel import LogMel
from .rvq import Quantised, ResidualQuantiser
from .streaming import State, Streaming, select_rows, tree_map, write_rows
from .trunk import Decoder, Encoder, start_from_components


class MelCodec(nn.Module):
    """What is trained to carry mel through codes, and what a codec's weight file holds."""

    def __init__(self, preset: Preset) -> None:
        super().__init__()
        self.preset = preset
        self.analysis = Encoder(preset.mel, preset.trunk)
        self.quantiser = ResidualQuantiser(preset.quantiser)
        self.synthesis = Decoder(preset.mel, preset.trunk)

    def forward(self, mel: Tensor, used: Tensor | None = None) -> tuple[Tensor, Quantised]:
        """Training: mel [B, M, T] -> decoded mel of that shape, and what the quantiser did (``rvq.py`` has the rest)."""
        latent, _ = self.analysis(mel, self.analysis.initial_state(mel.shape[0]))
        quantised = self.quantiser(latent.transpose(1, 2), used)
        decoded, _ = self.synthesis(quantised.latent.transpose(1, 2), self.synthesis.initial_state(mel.shape[0]))
        return decoded, quantised

    @torch.no_grad()
    def start(self, mel: Tensor) -> None:
        """Set latent and books by what mel [B, M, T] is like: principal components, then k-means of what they give."""
        start_from_components(self.analysis, self.synthesis, mel)
        enter, leave = self.quantiser.enter, self.quantiser.leave
        if isinstance(enter, nn.Linear) and isinstance(leave, nn.Linear):  # the first components, and back
            nn.init.eye_(enter.weight)
            nn.init.eye_(leave.weight)
        latent, _ = self.analysis(mel, self.analysis.initial_state(mel.shape[0]))
        self.quantiser.start(latent.transpose(1, 2).flatten(0, 1))


class MelToCodes:
    """Mel [B, M, n * mels_per_frame] -> codes int64 [B, n, Q], all books."""

    delay = 0

    def __init__(self, net: MelCodec) -> None:
        self.net = net

    def initial_state(self, batch: int) -> State:
        return self.net.analysis.initial_state(batch)

    def __call__(self, mel: Tensor, state: State) -> tuple[Tensor, State]:
        latent, state = self.net.analysis(mel, state)
        return self.net.quantiser.encode(latent.transpose(1, 2)), state


class CodesToMel:
    """Codes int64 [B, n, q] (-1: did not arrive) -> mel [B, M, n * mels_per_frame]."""

    delay = 0

    def __init__(self, net: MelCodec) -> None:
        self.net = net

    def initial_state(self, batch: int) -> State:
        return self.net.synthesis.initial_state(batch)

    def __call__(self, codes: Tensor, state: State) -> tuple[Tensor, State]:
        mel, state = self.net.synthesis(self.net.quantiser.decode(codes).transpose(1, 2), state)
        return mel, state


class OneByOne:
    """``inner`` run one row and one step at a time, so that its output is the same to the bit however it is called.

    For what follows it with unbounded gain: Griffin-Lim's phase iteration turns a difference in the last bit, which
    another batch or chunk size causes in a matrix product, into another sound.
    """

    def __init__(self, inner: Streaming) -> None:
        self.inner = inner

    @property
    def delay(self) -> int:
        return self.inner.delay

    def initial_state(self, batch: int) -> State:
        return self.inner.initial_state(batch)

    def __call__(self, codes: Tensor, state: State) -> tuple[Tensor, State]:
        """Codes [B, n, q], as ``CodesToMel``."""
        if codes.shape[:2] == (1, 1):
            return self.inner(codes, state)
        state = tree_map(torch.clone, state)
        rows = []
        for row in range(len(codes)):
            index = torch.tensor([row], device=codes.device)
            part, pieces = select_rows(state, index), []
            for frame in codes[row : row + 1].split(1, dim=1):
                mel, part = self.inner(frame, part)
                pieces.append(mel)
            write_rows(state, index, part)
            rows.append(torch.cat(pieces, -1))
        return torch.cat(rows), state


class CodecState(NamedTuple):
    """The states of the four parts."""

    mel: State
    encoder: State
    decoder: State
    vocoder: State


class Codec:
    """Everything that a stream passes through, pcm to pcm."""

    def __init__(self, net: MelCodec, vocoder: Streaming, model_hash: str) -> None:
        self.net = net
        self.preset = net.preset
        self.model_hash = model_hash
        self.mel: Streaming = LogMel(net.preset.mel).eval()
        self.encoder: Streaming = MelToCodes(net)
        decoder = CodesToMel(net)
        self.decoder: Streaming = OneByOne(decoder) if isinstance(vocoder, StreamingGriffinLim) else decoder
        self.vocoder = vocoder

    @property
    def delay(self) -> int:
        """Samples by which the output lags the input, the wait for a full frame not counted."""
        return self.mel.delay + self.encoder.delay + self.decoder.delay + self.vocoder.delay

    def initial_state(self, batch: int) -> CodecState:
        return CodecState(*(part.initial_state(batch) for part in (self.mel, self.encoder, self.decoder, self.vocoder)))

    @torch.no_grad()
    def __call__(self, pcm: Tensor, state: CodecState, books: int | None = None) -> tuple[Tensor, CodecState]:
        """Through the whole chain: pcm [B, n * frame_samples] -> the same shape, using the first ``books`` books."""
        mel, of_mel = self.mel(pcm, state.mel)
        codes, of_encoder = self.encoder(mel, state.encoder)
        decoded, of_decoder = self.decoder(codes[..., :books], state.decoder)
        out, of_vocoder = self.vocoder(decoded, state.vocoder)
        return out, CodecState(of_mel, of_encoder, of_decoder, of_vocoder)
