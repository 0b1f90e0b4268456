"""Facts for `headrace doctor`: asked of the real resources, and nothing changed. What may not be asked is told as such."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

from headrace.aws.session import Clients, open_client, translated
from headrace.core.readiness import NotTold, StreamFacts, TableFacts
from headrace.errors import AwsError, Denied, NotFound

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient
    from types_aiobotocore_kinesis import KinesisClient

T = TypeVar("T")

ALLOWED: Final = "allowed"


async def stream_facts(client: KinesisClient, name_or_arn: str) -> StreamFacts | NotTold:
    """DescribeStreamSummary, which a worker calls too."""
    address: dict[str, Any] = (
        {"StreamARN": name_or_arn} if name_or_arn.startswith("arn:") else {"StreamName": name_or_arn}
    )

    async def ask() -> StreamFacts:
        with translated("kinesis", "DescribeStreamSummary"):
            summary: Any = (await client.describe_stream_summary(**address))["StreamDescriptionSummary"]
        return StreamFacts(
            status=summary["StreamStatus"],
            mode=summary.get("StreamModeDetails", {}).get("StreamMode", "PROVISIONED"),
            retention_s=summary["RetentionPeriodHours"] * 3600.0,
            encryption=summary.get("EncryptionType", "NONE"),
            fan_out_consumers=summary.get("ConsumerCount", 0),
            open_shards=summary["OpenShardCount"],
            keeps_key_order=summary.get("RecordDistributionStrategy") != "AUTO",
        )

    return await _told(ask, is_needed=True)


async def table_facts(client: DynamoDBClient, name: str) -> TableFacts | NotTold:
    """DescribeTable, which a worker calls too, and what else is told of a table."""

    async def ask() -> TableFacts:
        with translated("dynamodb", "DescribeTable"):
            table: Any = (await client.describe_table(TableName=name))["Table"]
        return TableFacts(
            name=name,
            status=table["TableStatus"],
            billing=table.get("BillingModeSummary", {}).get("BillingMode", "PROVISIONED"),
            is_protected=bool(table.get("DeletionProtectionEnabled", False)),
            replicas=len(table.get("Replicas", ())),
            local_indexes=len(table.get("LocalSecondaryIndexes", ())),
            ttl_attribute=await _told(lambda: _expiry(client, name)),
            has_recovery=await _told(lambda: _recovery(client, name)),
            has_customer_key=table.get("SSEDescription", {}).get("SSEType") == "KMS",
        )

    return await _told(ask, is_needed=True)


async def _expiry(client: DynamoDBClient, name: str) -> str | None:
    with translated("dynamodb", "DescribeTimeToLive"):
        found: Any = (await client.describe_time_to_live(TableName=name))["TimeToLiveDescription"]
    return str(found["AttributeName"]) if found.get("TimeToLiveStatus") in ("ENABLED", "ENABLING") else None


async def _recovery(client: DynamoDBClient, name: str) -> bool:
    with translated("dynamodb", "DescribeContinuousBackups"):
        found: Any = (await client.describe_continuous_backups(TableName=name))["ContinuousBackupsDescription"]
    return bool(found.get("PointInTimeRecoveryDescription", {}).get("PointInTimeRecoveryStatus") == "ENABLED")


async def _told(ask: Callable[[], Awaitable[T]], *, is_needed: bool = False) -> T | NotTold:
    try:
        return await ask()
    except NotFound as error:
        return NotTold(str(error), is_needed=is_needed, is_missing=True)
    except Denied as error:
        return NotTold(str(error), is_needed=is_needed)
    except AwsError as error:
        return NotTold(str(error))


async def queue_facts(clients: Clients, url: str, region: str | None) -> tuple[int, float] | NotTold:
    """How many messages a queue holds, about, and how many seconds it keeps one; a worker asks for its attributes too."""

    async def ask() -> tuple[int, float]:
        async with open_client(clients, "sqs", region) as sqs:
            with translated("sqs", "GetQueueAttributes"):
                names = ["ApproximateNumberOfMessages", "MessageRetentionPeriod"]
                found = (await sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names))["Attributes"]
        return int(found.get(names[0], 0)), float(found.get(names[1], 0))

    return await _told(ask, is_needed=True)


async def account_of(clients: Clients) -> tuple[str, str] | NotTold:
    """The account of the credentials, and the ARN of who they belong to; everybody may ask."""

    async def ask() -> tuple[str, str]:
        async with open_client(clients, "sts") as sts:
            with translated("sts", "GetCallerIdentity"):
                found = await sts.get_caller_identity()
        return found["Account"], found["Arn"]

    return await _told(ask)


async def denied_actions(clients: Clients, who: str, statements: Sequence[dict[str, Any]]) -> list[str] | NotTold:
    """Of a policy's statements, the actions that the credentials are not allowed (SimulatePrincipalPolicy)."""

    async def ask() -> list[str]:
        async with open_client(clients, "iam") as iam:
            return [action for statement in statements for action in await _simulated(iam, who, statement)]

    return await _told(ask)


async def _simulated(iam: Any, who: str, statement: dict[str, Any]) -> list[str]:
    with translated("iam", "SimulatePrincipalPolicy"):
        answer = await iam.simulate_principal_policy(
            PolicySourceArn=principal_of(who), ActionNames=statement["Action"], ResourceArns=statement["Resource"]
        )
    results = answer["EvaluationResults"]
    return [result["EvalActionName"] for result in results if result["EvalDecision"] != ALLOWED]


def principal_of(arn: str) -> str:
    """Whose policies a session has: `arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION` is the role's."""
    if ":assumed-role/" not in arn:
        return arn
    head, _, rest = arn.partition(":assumed-role/")
    return f"{head.replace(':sts:', ':iam:')}:role/{rest.partition('/')[0]}"
