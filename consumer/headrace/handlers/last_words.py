"""Why the user's module could not be imported, in one line."""

from __future__ import annotations

import traceback


def last_words(error: BaseException, importer: str) -> str:
    """The last line of the traceback, and the last place that is a file and not `importer`, headrace's own."""
    words = (traceback.format_exception_only(error)[-1].strip().splitlines() or [type(error).__name__])[0]
    if isinstance(error, SyntaxError):
        return f"{words} ({error.filename}:{error.lineno})"
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if not frame.filename.startswith("<") and frame.filename != importer and "importlib" not in frame.filename:
            return f"{words} ({frame.filename}:{frame.lineno})"
    return words
