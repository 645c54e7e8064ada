"""``sottovoce doctor``: what is wrong with a folder of weight files."""

from __future__ import annotations

from pathlib import Path

from sottovoce.stream.errors import WeightsError

from .pipes import say


def examine(folder: Path | None) -> None:
    """Print a line for everything that was looked at in ``folder``; None: the weights of the package.

    Raises WeightsError: something is wrong, or there is nothing to look at.
    """
    try:
        from sottovoce.stream.checkup import WEIGHTS, examine
    except ModuleNotFoundError as error:
        raise WeightsError(f"{error.name} must be installed for this: pip install 'sottovoce[engine]'") from error
    folder = WEIGHTS if folder is None else folder
    wrong = []
    for file, found in examine(folder):
        say(f"{'good ' if found.good else 'WRONG'} {file}: {found.name}: {found.detail}")
        if not found.good:
            wrong.append(f"{file} ({found.name})")
    if wrong:
        things = "1 thing is" if len(wrong) == 1 else f"{len(wrong)} things are"
        raise WeightsError(f"{things} wrong in {folder}: {', '.join(wrong)}")
