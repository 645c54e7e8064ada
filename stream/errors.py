"""Everything that can go wrong, in one tree; each message is one line: what was wrong, and what to do.

* SottovoceError               exit 1
    * UsageError               exit 2   options that contradict each other or are out of range
    * AudioFileError           exit 3   a sound file that cannot be read or written
    * CodeFileError            exit 4   a ``.sv`` file that is foreign, damaged or cannot be written
        * ModelMismatch        exit 4   its codes were made by another model
    * DeviceError              exit 5   a microphone or speaker is missing, busy or gone
    * WeightsError             exit 6   weights are missing or do not fit the model
    * NoSlot                   exit 7   every row of the engine is taken
        * EngineBusy           exit 7   rows are free, but one session more would be too slow for all of them
    * EngineStopped            exit 8   the engine failed, or was stopped while somebody waited for it
    * PacketError              exit 9   bytes that are no code packet, or one of another preset
    * ServeError               exit 10  the server cannot be started as asked
    * ConnectionFailed         exit 11  no server answers, it refuses, or it went away
        * RoomRefused          exit 11  a broker or server will not have us in a room, now or later
    * ProtocolError            exit 12  the other side of a conversation broke its rules
    * ThinkerError             exit 13  who writes the text does not answer, refuses, or breaks off
    * RoomKeyError             exit 14  a room key that is none, or cannot be read or written
    * LawBroken                exit 15  an engine says other things in other cuts, batches or after a reset
    * ChannelClosed            exit 1   sending into, or receiving from, a channel that has ended
    * ChannelFull              exit 1   a channel of policy ``refuse`` is full

The normal end of a stream is not an error. Wrong arguments are ``ValueError``.
"""

from __future__ import annotations

from typing import ClassVar


class SottovoceError(Exception):
    """Any failure that a person can be told about in one line."""

    exit_code: ClassVar[int] = 1


class UsageError(SottovoceError):
    """The options given cannot be carried out."""

    exit_code = 2


class AudioFileError(SottovoceError):
    """A sound file that cannot be read or written."""

    exit_code = 3


class CodeFileError(SottovoceError):
    """A ``.sv`` file that is foreign, damaged or cannot be written."""

    exit_code = 4


class ModelMismatch(CodeFileError):
    """Codes made by one model were given to another; they would decode to noise."""

    def __init__(self, *, expected: str, expected_hash: str, found: str, found_hash: str) -> None:
        super().__init__(
            f"these codes were made by model {found} {found_hash}, "
            f"but the loaded model is {expected} {expected_hash}; decode them with the weights that made them"
        )


class DeviceError(SottovoceError):
    """A microphone or speaker is missing, busy or was unplugged."""

    exit_code = 5


class WeightsError(SottovoceError):
    """Weights are missing, unreadable or do not fit the model."""

    exit_code = 6


class NoSlot(SottovoceError):
    """Every row of the engine is taken; try again later or start it with more rows."""

    exit_code = 7

    def __init__(self, rows: int) -> None:
        super().__init__(f"all {rows} rows of the engine are taken; close a session or start with more rows")
        self.rows = rows
        self.reason = f"all {rows} rows are taken"


class EngineBusy(NoSlot):
    """By what steps have taken lately, sound would come too late with one session more."""

    def __init__(self, sessions: int, rows: int) -> None:
        super().__init__(rows)
        self.reason = f"the engine is busy with {sessions} sessions"
        self.args = (f"{self.reason}: with one more, sound would come too late",)


class EngineStopped(SottovoceError):
    """The engine failed, or was stopped before it could answer.

    Where it failed ``__cause__`` tells how.
    """

    exit_code = 8


class PacketError(SottovoceError):
    """Bytes that are not a code packet, or not one of this stream."""

    exit_code = 9


class ServeError(SottovoceError):
    """The server cannot be started: its port is taken, or its certificate cannot be read."""

    exit_code = 10


class ConnectionFailed(SottovoceError):
    """No server answers there, it refuses, or the line to it broke."""

    exit_code = 11


class RoomRefused(ConnectionFailed):
    """A broker or server will not have us in its room; trying again would not help."""


class ProtocolError(SottovoceError):
    """The other side of a conversation broke its rules.

    ``code`` is what an ``error`` message calls it.
    """

    exit_code = 12

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class ThinkerError(SottovoceError):
    """Who writes the text to be spoken does not answer, refuses, or broke off."""

    exit_code = 13


class RoomKeyError(SottovoceError):
    """A room key that is none, was mistyped, or cannot be read or written."""

    exit_code = 14


class LawBroken(SottovoceError):
    """The streaming law does not hold for an engine on this machine."""

    exit_code = 15


class ChannelClosed(SottovoceError):
    """The channel has ended: nothing more can be sent, or nothing is left to receive."""


class ChannelFull(SottovoceError):
    """A channel of policy ``refuse`` has no room; the item was not taken."""
