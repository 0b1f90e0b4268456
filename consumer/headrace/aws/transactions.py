"""Mode `transactional` over the signed channel: each transaction once, and what became of it."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING

from headrace.aws import transaction_call
from headrace.aws.cancellation import Cancelled
from headrace.aws.channel import Poster
from headrace.aws.key_schema import describe_keys, serving_key
from headrace.aws.write_counts import WriteCounts
from headrace.aws.write_request import TableKeys
from headrace.core.native import Native
from headrace.core.write_modes import NotCarried
from headrace.errors import AwsError, LeaseLost, Throttled
from headrace.model import Permit
from headrace.operations import Effect
from headrace.transactions import CommitOutcome, Committed, OperationsRefused, Transaction

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient


class DynamoTransactions:
    """Implements `ports.Transactions` over `table`, which effects may name others beside, and the lease table."""

    def __init__(
        self, channel: Poster, client: DynamoDBClient, table: str, lease_table: str, native: Native | None = None
    ) -> None:
        self.counts = WriteCounts()
        self._native = native
        self._channel = channel
        self._client = client
        self._keys = TableKeys(table)
        self._lease_table = lease_table

    async def check(self) -> None:
        """Learn the table's key. Raises SettingsError when it is not there, not readable or not ready; Throttled, Unavailable."""
        self._keys[self._keys.default] = await serving_key(self._client, self._keys.default)

    def key(self, effect: Effect) -> Hashable:
        """See `ports.Transactions`. Raises NotCarried too: the lease table is no place for results."""
        if effect.table == self._lease_table:
            raise NotCarried("its table is the lease table; name another one")
        return self._keys.key(effect)

    async def learn(self, table: str | None) -> None:
        """See `ports.Transactions`."""
        name = table or self._keys.default
        self._keys[name] = (await describe_keys(self._client, name)).names

    async def commit(self, transaction: Transaction, permit: Permit) -> CommitOutcome:
        """See `ports.Transactions`."""
        try:
            outcome = await self._commit(transaction, permit)
        except LeaseLost:
            raise
        except AwsError as error:
            self.counts.throttled += isinstance(error, Throttled)
            self.counts.failed += not isinstance(error, Throttled)
            raise
        self._count(outcome, transaction)
        return outcome

    async def _commit(self, transaction: Transaction, permit: Permit) -> CommitOutcome:
        try:
            body = transaction_call.encode(transaction, self._keys.default, self._lease_table, self._native)
        except (TypeError, ValueError, RecursionError):
            faults = transaction_call.faults(transaction.operations, self._keys.default)
            if not faults:
                raise
            return OperationsRefused(faults)
        self.counts.requests += 1
        self.counts.request_bytes += len(body)
        try:
            return transaction_call.read(await self._channel.post(transaction_call.TARGET, body, permit))
        except Cancelled as cancelled:
            return transaction_call.read_cancelled(cancelled, transaction)

    def _count(self, outcome: CommitOutcome, transaction: Transaction) -> None:
        match outcome:
            case Committed():
                self.counts.written += transaction.writes
                self.counts.folded += transaction.writes - len(transaction.operations)
            case OperationsRefused() if transaction.records == 1:
                self.counts.refused += transaction.writes
            case _:
                pass
