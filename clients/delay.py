"""How late a listener hears what is said into the microphone, and where the time goes."""

from __future__ import annotations

from dataclasses import dataclass

from sottovoce.stream.statistics import Statistics

from .soundcard import SoundCard
from .speaker import Speaker


@dataclass(frozen=True, slots=True)
class LiveDelay:
    """From the air at the microphone to the air at the speaker, in milliseconds."""

    total_ms: float
    codec_ms: float
    "Algorithmic: filling a frame, and the shift of the output."
    devices_ms: float
    "What microphone and speaker report as their own."
    buffers_ms: float
    "The rest: the speaker's reserve, packets of several frames, and computing."

    def __str__(self) -> str:
        return (
            f"{self.total_ms:.0f} ms = codec {self.codec_ms:.0f} + devices {self.devices_ms:.0f} "
            f"+ buffers and computing {self.buffers_ms:.0f}"
        )


def live_delay(card: SoundCard, speaker: Speaker, statistics: Statistics) -> LiveDelay | None:
    """The delay now; None until sound has gone all the way.

    Both ends tell when, on the card's clock, a sample passed them. Sample i of the codec's output holds what
    sample i - ``delay_samples`` of its input said, so the two times differ by all of the delay but that shift.
    """
    if card.capture is None or card.playback is None:
        return None
    heard_s, said_s = card.playback.timeline.origin_s, card.capture.timeline.origin_s
    if heard_s is None or said_s is None or speaker.n_reserve is None:
        return None
    descriptor = statistics.descriptor
    heard_s += speaker.n_reserve / card.playback.rate_hz  # sample 0 of the codec stands behind the reserve
    said_s += card.capture.n_unheard / card.capture.rate_hz
    # Frames that were pushed out before the codec saw them bring the output nearer to the input.
    missed = sum(n for name, n in statistics.dropped.items() if name == "captured.overflow")
    shift_s = (descriptor.delay_samples - missed * descriptor.frame_samples) / descriptor.rate_hz
    total_ms = 1000 * (heard_s - said_s + shift_s)
    devices_ms = sum(card.latency_ms)
    return LiveDelay(total_ms, descriptor.delay_ms, devices_ms, total_ms - descriptor.delay_ms - devices_ms)
