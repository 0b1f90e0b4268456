"""The page: plain HTML, one style sheet and a few ES modules, served as they stand here. No build, nothing from elsewhere."""

from __future__ import annotations

from importlib import resources
from typing import Final

_KINDS: Final = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


def _found() -> dict[str, tuple[bytes, str]]:
    files = {one.name: one for one in resources.files(__name__).iterdir()}
    served = {f"/page/{name}": (files[name], kind) for name in files for end, kind in _KINDS.items() if name.endswith(end)}  # fmt: skip
    served["/"] = served.pop("/page/index.html")
    return {path: (file.read_bytes(), kind) for path, (file, kind) in served.items()}


PAGE_FILES: Final = _found()
"""Body and content type by path."""
