"""Why DynamoDB cancelled a transaction, member by member.

API reference, TransactWriteItems and CancellationReason: the reasons come in the order of the members, with the code
`None` for those that were no cause.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from headrace.errors import AwsError

CANCELLED: Final = "TransactionCanceledException"

INNOCENT: Final = "None"

CONDITION_FAILED: Final = "ConditionalCheckFailed"

PASSING: Final = frozenset({"TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"})
"""Reasons that say nothing about a member: the same transaction may take place later."""

LASTING: Final = frozenset({CONDITION_FAILED, "ValidationError", "ItemCollectionSizeLimitExceeded"})
"""Reasons for which a member never takes place as it is."""


class CancellationReason(msgspec.Struct, gc=False):
    """Of one member; `Item` is what its condition met, where it asked for that."""

    Code: str = INNOCENT
    Message: str | None = None
    Item: dict[str, dict[str, Any]] | None = None


class Cancelled(AwsError):  # noqa: N818 - it says what is the case, as its family does
    """A transaction was cancelled; nothing of it took place."""

    def __init__(self, message: str, reasons: Sequence[CancellationReason]) -> None:
        super().__init__(message)
        self.reasons = tuple(reasons)
