"""Lets the suite run from a bare checkout: ``sottovoce`` is a namespace over its folders."""

import importlib.util
import sys
import types
from pathlib import Path

if importlib.util.find_spec("sottovoce") is None:
    sottovoce = types.ModuleType("sottovoce")
    sottovoce.__path__ = [str(Path(__file__).parent.parent)]
    sys.modules["sottovoce"] = sottovoce
