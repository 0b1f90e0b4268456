"""Which function runs in processes of its own: its name in code, its name towards AWS, and the environment that it expects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

LOWEST_MEMORY_MB: Final = 128
"""Lambda's default and least memory size."""

DEFAULT_LIMIT_S: Final = 60.0

FORM: Final = "Write it as module:function, or as in Lambda module.function or path/module.function"


@dataclass(frozen=True, slots=True)
class HandlerFunction:
    """A Lambda or batch handler and what it is told about itself.

    `handler` is module:function, or Lambda's module.function with slashes or dots in the module's path. `stream_arn` gives
    partition, region and account. `memory_mb` is only told to the handler, nobody enforces it. A call may take `limit_s`.
    """

    handler: str
    name: str
    stream_arn: str
    limit_s: float = DEFAULT_LIMIT_S
    memory_mb: int = LOWEST_MEMORY_MB
    version: str = "$LATEST"
    takes_batches: bool = False
    """It is a batch handler and not Lambda's: `handle(batch)` with the records as they are."""

    @property
    def region(self) -> str:
        """The stream's region."""
        return self.stream_arn.split(":")[3]

    def arn(self, name: str) -> str:
        """The ARN that a function of this name would have beside the stream."""
        _, partition, _, region, account, *_ = self.stream_arn.split(":")
        return f"arn:{partition}:lambda:{region}:{account}:function:{name}"


def split_name(handler: str) -> tuple[str, str] | None:
    """Module and function; None where the text names none.

    As Lambda does, the last dot of a name without a colon separates them, and a slash counts as a dot.
    """
    module, _, function = handler.rpartition(":" if ":" in handler else ".")
    module = module.replace("/", ".")
    parts = [*module.split("."), *function.split(".")]
    return (module, function) if all(part.isidentifier() for part in parts) else None


def environment(function: HandlerFunction, inherited: Mapping[str, str]) -> dict[str, str]:
    """The child's environment. What the worker's own environment sets wins over what is told by default.

    So a function that comes from Lambda can keep its name, on which idempotency keys may depend, and its memory size. The
    names are those of the developer guide's "defined runtime environment variables"; the log stream is the child's own.
    """
    name = inherited.get("AWS_LAMBDA_FUNCTION_NAME") or function.name
    defaults = {
        "AWS_LAMBDA_FUNCTION_VERSION": function.version,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_mb),
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{name}",
        "AWS_REGION": function.region,
        "AWS_DEFAULT_REGION": function.region,
        "LAMBDA_TASK_ROOT": str(Path.cwd()),
        "TZ": ":UTC",
    }
    given = {key: value for key, value in inherited.items() if value or key not in defaults}
    return {**defaults, **given, "AWS_LAMBDA_FUNCTION_NAME": name, "_HANDLER": function.handler}
