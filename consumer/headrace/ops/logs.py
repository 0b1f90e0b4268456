"""Log lines: one JSON object a line for machines, a readable line on a terminal; structlog and stdlib alike.

Events are past-tense words, facts are fields, stream, shard and epoch come from context variables. Payloads never appear:
botocore writes request bodies at level debug, so the client libraries never go below warning.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import Any, Final, TextIO

import msgspec


@contextmanager
def _rich_unseen() -> Iterator[None]:
    """Let structlog believe that rich is not installed: importing it would cost every worker 60 ms of CPU at start.

    structlog imports rich where it can, to colour tracebacks; logs here have plain ones.
    """
    if "rich" in sys.modules or "structlog" in sys.modules:
        yield
        return
    sys.modules["rich"] = None  # type: ignore[assignment] # the documented way to make an import fail
    try:
        yield
    finally:
        del sys.modules["rich"]


with _rich_unseen():
    import structlog

_CHATTY: Final = ("aiobotocore", "aiohttp", "asyncio", "botocore", "urllib3")


def configure(
    level: str, form: str, stream: TextIO | None = None, moment: Callable[[], Mapping[str, str]] | None = None
) -> None:
    """Set up logging of the process. `form` is json, console or auto (console on a terminal); standard output.

    `moment` tells more facts for each line as it is written.
    """
    out = stream or sys.stdout
    from headrace.ops.repeats import Repeats, bound_logger  # noqa: PLC0415 - it imports structlog: see above

    console = form == "console" or (form == "auto" and out.isatty())
    shared = _shared_steps(moment)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=bound_logger(level, Repeats(level)),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=_last_steps(out, console=console))
    )
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    logging.captureWarnings(capture=True)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLogger().level))


def _shared_steps(moment: Callable[[], Mapping[str, str]] | None) -> list[structlog.typing.Processor]:
    def told(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        return {**event, **moment()} if moment is not None else event

    return [
        *([told] if moment is not None else []),
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.ExtraAdder(),
    ]


def _last_steps(out: TextIO, *, console: bool) -> list[structlog.typing.Processor]:
    without_meta = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    if console:
        plain = structlog.dev.plain_traceback
        return [without_meta, structlog.dev.ConsoleRenderer(colors=out.isatty(), exception_formatter=plain)]
    return [without_meta, structlog.processors.format_exc_info, _as_json]


def _as_json(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> str:
    first = {name: event.pop(name) for name in ("timestamp", "level", "event") if name in event}
    return msgspec.json.encode({**first, **event}, enc_hook=repr).decode()
