"""Which events the code logs, and at which levels, read out of its syntax."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
LEVELS = {"debug": "debug", "info": "info", "warning": "warning", "error": "error", "exception": "error"}
LOGGERS = {"log", "_log"}


def logged() -> dict[str, set[str]]:
    """Levels by event, of all that is shipped."""
    return in_trees(ast.parse(path.read_text(), str(path)) for path in sources())


def sources() -> list[Path]:
    """Every module of the service and of the producer."""
    return [path for source in ("consumer", "producer") for path in sorted((ROOT / source).rglob("*.py"))]


def in_trees(trees) -> dict[str, set[str]]:
    """Levels by event. Raises LookupError for an event whose name cannot be told from the code alone."""
    found: dict[str, set[str]] = {}
    for tree in trees:
        constants, tellers = _constants(tree), _tellers(tree)
        for call in calls(tree):
            levels = _levels(call.func, tellers)
            if levels:
                found.setdefault(word(call.args[0], constants), set()).update(levels)
    return found


def calls(tree: ast.AST) -> Iterator[ast.Call]:
    """Every call that has a positional argument."""
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call) and node.args)


def word(node: ast.expr, constants: dict[str, str]) -> str:
    """A literal, or a constant of the module. Raises LookupError for anything else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.Name) and node.id in constants:
        return constants[node.id]
    raise LookupError(f"line {node.lineno}: {ast.unparse(node)} is no word that stands in the code")


def _levels(func: ast.expr, tellers: dict[str, set[str]]) -> set[str]:
    match func:
        case ast.Attribute(value=ast.Name(id=name), attr=level) if name in LOGGERS and level in LEVELS:
            return {LEVELS[level]}
        case ast.IfExp(body=body, orelse=orelse):
            return _levels(body, tellers) | _levels(orelse, tellers)
        case ast.Name(id=name):
            return tellers.get(name, set())
        case _:
            return set()


def _tellers(tree: ast.AST) -> dict[str, set[str]]:
    """Names that stand for a logger's method, as in `tell = log.info if ... else log.warning`."""
    return {
        node.targets[0].id: levels
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and (levels := _levels(node.value, {}))
    }


def _constants(tree: ast.AST) -> dict[str, str]:
    return {
        node.target.id: node.value.value
        for node in ast.walk(tree)
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    }
