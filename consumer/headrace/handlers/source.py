"""What a handler's source says of it without being run.

To import a Lambda handler's file has effects: it makes clients, prints, sets up the log. They belong into the processes
that call it, with the environment it expects, and not into the worker.
"""

from __future__ import annotations

import ast
import importlib.util
from importlib.abc import InspectLoader
from typing import Final

_LISTS: Final = frozenset({"list", "sequence", "tuple", "iterable"})


def takes_event_and_context(spec: str) -> bool:
    """Whether `module:function` is defined there with `event` and `context`, and nothing else speaks against a Lambda handler.

    False also where that cannot be seen: importing it will tell.
    """
    module, _, name = spec.partition(":")
    function = _definition(module, name)
    if function is None:
        return False
    positional = [*function.args.posonlyargs, *function.args.args]
    names = [argument.arg for argument in positional]
    return names[:2] == ["event", "context"] and not _is_list(positional[0].annotation)


def _definition(module: str, name: str) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
    """The last one at the top of the module."""
    try:
        found = importlib.util.find_spec(module)
        loader = None if found is None else found.loader
        source = loader.get_source(module) if isinstance(loader, InspectLoader) else None
        body = ast.parse(source or "").body
    except (Exception, SystemExit):  # noqa: BLE001 - a package of the user's is imported on the way, the module is none, ...
        return None
    functions = [one for one in body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef) and one.name == name]
    return functions[-1] if functions else None


def _is_list(annotation: ast.expr | None) -> bool:
    if annotation is None:
        return False
    text = str(annotation.value) if isinstance(annotation, ast.Constant) else ast.unparse(annotation)
    return text.partition("[")[0].rpartition(".")[2].strip().lower() in _LISTS
