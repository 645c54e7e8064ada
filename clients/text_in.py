"""Where the text to be spoken comes from: the command line, standard input as it comes, or a language model as it writes."""

from __future__ import annotations

import asyncio
import codecs
import os
import sys
from collections.abc import AsyncIterator

from sottovoce.stream.errors import AudioFileError, UsageError
from sottovoce.stream.session_events import TextArrived

from .pipes import PIPE, Input, readable

_CHUNK_BYTES = 4096
PATIENCE_S = 0.5
"""A line is said when for so long nothing follows it: before that, what follows shapes its melody."""


def text_source(
    text: str | None, chat: str | None = None, model: str = "", system: str | None = None
) -> AsyncIterator[TextArrived]:
    """Pieces of a text, as a speaker takes them.

    Args:
        text: what is said; ``-`` or None is standard input. With ``chat`` a question.
        chat: where the language model is that answers it.
        model: its name there.
        system: what it is told to be like.

    Raises:
        UsageError: there is no text, or what ``chat`` needs is not installed.
    """
    if chat is None:
        if text is None and (sys.stdin is None or sys.stdin.isatty()):
            raise UsageError("give a text, or - to type one; see 'sottovoce say --help'")
        if text is None or text == PIPE:
            return typed(Input(PIPE, AudioFileError))
    elif text is None or text == PIPE:
        raise UsageError("--chat needs a question as its text")
    if not text.strip():
        raise UsageError("the text is empty; give one, or - to read it from standard input")
    if chat is None:
        return _pieces(_at_once(os.fsencode(text).decode("utf-8", "replace")))
    try:
        from sottovoce.stream.thinker import ChatThinker
    except ModuleNotFoundError as error:
        raise UsageError(f"{error.name} must be installed for --chat: pip install 'sottovoce[talk]'") from error
    return _pieces(ChatThinker(chat, model, system).answer(text))


async def _at_once(text: str) -> AsyncIterator[str]:
    yield text


async def _pieces(texts: AsyncIterator[str]) -> AsyncIterator[TextArrived]:
    try:
        async for text in texts:
            yield TextArrived(text, 0)
    finally:
        if hasattr(texts, "aclose"):
            await texts.aclose()  # lets go of the line to a model


async def typed(file: Input, patience_s: float = PATIENCE_S) -> AsyncIterator[TextArrived]:
    """What comes out of ``file``, while it comes; a line is said where nothing follows it, at once on a terminal."""
    decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
    by_line = file.file.isatty()
    line_ended = False
    while True:
        if file.waits_on is not None and not await _there(file.waits_on, patience_s if line_ended else None):
            line_ended = False
            yield TextArrived(None, 0)
            continue
        data = file.read_now(_CHUNK_BYTES)
        if data is None:
            continue
        text = decoder.decode(data, final=not data)
        if text:
            yield TextArrived(text, 0)
        if not data:
            return
        line_ended = text.endswith("\n")
        if by_line and line_ended:
            line_ended = False
            yield TextArrived(None, 0)


async def _there(descriptor: int, patience_s: float | None) -> bool:
    """Wait for a pipe; whether it has something, or has ended, before the patience has; None: for ever."""
    try:
        async with asyncio.timeout(patience_s):
            await readable(descriptor)
    except TimeoutError:
        return False
    return True
