"""When each character of a passage sounds, as ElevenLabs tells it: from the times of its words."""

from __future__ import annotations

from itertools import pairwise

from .talk import PassageBegan


def alignment(passage: PassageBegan) -> dict[str, list[str] | list[int]]:
    """Characters with their times in whole milliseconds from the beginning of the passage's sound.

    The characters of a word share its time evenly; those between two words take the time between them. What is behind the last
    word takes the rest, the pause included.
    """
    text, origin_ms = passage.text, passage.start_ms
    marks = [(0, 0.0)]  # place in the text, and when it is reached
    at = 0
    for word in passage.words:
        found = text.find(word.text, at)
        if found < 0:
            continue
        at = found + len(word.text)
        marks += [(found, word.start_ms - origin_ms), (at, word.end_ms - origin_ms)]
    marks.append((len(text), passage.end_ms - origin_ms))
    starts: list[int] = []
    for (begin, begin_ms), (end, end_ms) in pairwise(marks):
        starts += [round(begin_ms + (end_ms - begin_ms) * i / (end - begin)) for i in range(end - begin)]
    durations = [b - a for a, b in pairwise([*starts, round(marks[-1][1])])]
    # Two spellings of one list: the documentation has had both.
    return {
        "chars": list(text),
        "charStartTimesMs": starts,
        "charDurationsMs": durations,
        "charsDurationsMs": durations,
    }
