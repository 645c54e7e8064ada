"""The page at ``/``: files as they lie in a folder. A browser asks for each anew, so that never two versions meet."""

from __future__ import annotations

import mimetypes
import os
import re
from pathlib import Path

from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

mimetypes.add_type("text/javascript", ".js")  # some Windows registries say otherwise, and browsers run nothing else


_OURS = ("package.json", "jsconfig.json", "types.d.ts")
"""What lies there for those who write it, not for who reads it."""


class Page(StaticFiles):
    """The folder ``web`` with its ``index.html``."""

    def __init__(self, web: Path) -> None:
        super().__init__(directory=web, html=True)

    def lookup_path(self, path: str) -> tuple[str, os.stat_result | None]:
        """Where a file is; what is not for a browser, or is hidden, is not there."""
        hidden = any(part.startswith(".") and part != os.curdir for part in re.split(r"[/\\]", path))
        return ("", None) if hidden or path in _OURS else super().lookup_path(path)

    def file_response(
        self, full_path: str | os.PathLike[str], stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        """A file, or that it has not changed."""
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers["cache-control"] = "no-cache"
        return response
