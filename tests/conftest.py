"""Lets the suite run from a bare checkout: ``sottovoce`` is a namespace over its folders."""

import importlib.util
import sys
import types
from pathlib import Path

from hypothesis import HealthCheck, settings

if importlib.util.find_spec("sottovoce") is None:
    sottovoce = types.ModuleType("sottovoce")
    sottovoce.__path__ = [str(Path(__file__).parent.parent)]
    sys.modules["sottovoce"] = sottovoce

# How long an example takes, or its making, says how busy the machine is and nothing of what is tested.
settings.register_profile("no clock", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("no clock")
