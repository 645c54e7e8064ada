"""Whether a sound file ends before it should: libsndfile takes what is there for the whole of WAV and Ogg."""

from __future__ import annotations

import os
from typing import IO

from .wav import read_header

_OGG_HEADER_BYTES = 27
_MOST_OGG_PAGE_BYTES = _OGG_HEADER_BYTES + 255 + 255 * 255
_LAST_PAGE = 4


def is_cut_off(file: IO[bytes]) -> bool:
    """Whether a WAV is shorter than its header says, or an Ogg lacks its last page. Moves to somewhere in ``file``."""
    n_bytes = file.seek(0, os.SEEK_END)
    file.seek(0)
    wav = read_header(file.read)
    if wav:
        return (wav.data_bytes or 0) > n_bytes - file.tell()
    file.seek(0)
    if file.read(4) != b"OggS":
        return False
    file.seek(max(0, n_bytes - _MOST_OGG_PAGE_BYTES))
    end = file.read()
    page = end[max(0, end.rfind(b"OggS")) :]
    if len(page) < _OGG_HEADER_BYTES or not page[5] & _LAST_PAGE:
        return True
    n_segments = page[26]
    segments = page[_OGG_HEADER_BYTES : _OGG_HEADER_BYTES + n_segments]
    return len(page) < _OGG_HEADER_BYTES + n_segments + sum(segments)
