"""The page at ``/``: files as they lie in a folder. A browser asks for each anew, so that never two versions meet."""

from __future__ import annotations

import mimetypes
import os
from pathlib import Path

from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

mimetypes.add_type("text/javascript", ".js")  # some Windows registries say otherwise, and browsers run nothing else


class Page(StaticFiles):
    """The folder ``web`` with its ``index.html``."""

    def __init__(self, web: Path) -> None:
        super().__init__(directory=web, html=True)

    def file_response(
        self, full_path: str | os.PathLike[str], stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        """A file, or that it has not changed."""
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers["cache-control"] = "no-cache"
        return response
