"""The command line: options to parts, and the end of a run to an exit code (0 done or stopped, 1 failed, 2 bad input)."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Annotated, Any, Final, cast

import msgspec
import structlog
import typer
import uvloop

from headrace.aws.kinesis import KinesisStream
from headrace.aws.session import Clients, aws_clients
from headrace.core.ledger import FORMAT, FORMAT_WITH_AGGREGATES, Header
from headrace.errors import HeadraceError, SettingsError
from headrace.settings.units import Unfit, duration
from headrace.tasks import TaskGroup
from headrace_producer.aggregates import LEAST_BYTES, MOST_BYTES, USUAL_BYTES
from headrace_producer.aggregating import AggregatingWriter
from headrace_producer.kinesis import KinesisWriter
from headrace_producer.ledger import open_ledger
from headrace_producer.outbox import MAX_AGGREGATED, PLAIN, CallRules
from headrace_producer.pace import Pace
from headrace_producer.progress import show_progress
from headrace_producer.put import Production, Tally
from headrace_producer.workload import WORKLOADS, Shape, drafts

MOST_KEYS: Final = 1_000_000
"""A key costs some 200 bytes of the producer's memory."""

MOST_PAYLOAD: Final = 2**20
"""Kinesis takes records of up to 10 MiB; a load of more than 1 MiB each is no load this producer is for."""

Misuse: Final = cast("type[Exception]", typer.BadParameter.__mro__[2])
"""The parent of all usage errors: typer brings its own click, under a name that is not to be imported."""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command()
def produce(  # noqa: PLR0913, PLR0917 - the options of the command
    stream: Annotated[str, typer.Option(help="Stream name or ARN.", show_default=False)],
    workload: Annotated[str, typer.Option(help=f"What to produce: {', '.join(WORKLOADS)}.")] = "iot",
    rate: Annotated[
        float | None, typer.Option(help="Records a second; without it as fast as the stream takes.")
    ] = None,
    count: Annotated[int | None, typer.Option(min=1, help="Stop after this many records.")] = None,
    lasting: Annotated[str | None, typer.Option("--duration", help="Stop after this long, like 20s or 5m.")] = None,
    keys: Annotated[int, typer.Option(min=1, max=MOST_KEYS, help="Partition keys.")] = 1000,
    skew: Annotated[
        float, typer.Option(min=0, max=10, help="Zipf exponent of the keys' shares; 0: equal shares.")
    ] = 0.0,
    poison_rate: Annotated[float, typer.Option(min=0, max=1, help="Share of records that are not valid JSON.")] = 0.0,
    record_bytes: Annotated[int, typer.Option(min=0, max=MOST_PAYLOAD, help="Pad payloads to at least this size.")] = 0,
    seed: Annotated[int, typer.Option(help="Same seed, same records.")] = 0,
    ledger: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write what the stream acknowledged, for `headrace verify`.")
    ] = None,
    *,
    aggregate: Annotated[
        bool,
        typer.Option("--aggregate", help="Several records in one, as the Kinesis Producer Library puts them together."),
    ] = False,
    aggregate_bytes: Annotated[
        int, typer.Option(min=LEAST_BYTES, max=MOST_BYTES, help="Most bytes of one aggregate.")
    ] = USUAL_BYTES,
    as_json: Annotated[bool, typer.Option("--json", help="Write the summary as JSON, and no progress.")] = False,
) -> None:
    """Put seeded records into a Kinesis stream, in order within each key, and keep a ledger of them.

    Without --count and --duration it goes on until SIGINT or SIGTERM. Region, credentials and endpoint are the AWS SDK's
    own: AWS_DEFAULT_REGION, AWS_PROFILE, AWS_ENDPOINT_URL_KINESIS...
    """
    shape = Shape(_known(workload), seed, keys, skew, poison_rate, record_bytes)
    pace = Pace(_positive(rate), count, _seconds(lasting))
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    rules = CallRules(MAX_AGGREGATED, run_bytes=aggregate_bytes) if aggregate else PLAIN
    tally = uvloop.run(_produce(stream, Plan(shape, pace, rules), ledger, quiet=as_json))
    sys.stdout.write(_as_json(tally) if as_json else _as_text(tally))


@dataclass(frozen=True, slots=True)
class Plan:
    """What is produced, when, and how it is put into calls."""

    shape: Shape
    pace: Pace
    rules: CallRules


async def _produce(stream: str, plan: Plan, path: Path | None, *, quiet: bool) -> Tally:
    async with aws_clients() as clients:
        plain = KinesisWriter(clients.kinesis, stream)
        await plain.check()
        writer = await _aggregating(clients, plain, plan.rules) if plan.rules.aggregates else plain
        with open_ledger(path, _header(plain.stream, plan)) as ledger:
            chance = Random(plan.shape.seed).random  # noqa: S311 - jitter, not secrets
            production = Production(drafts(plan.shape), writer, ledger, pace=plan.pace, chance=chance, rules=plan.rules)
            _on_signals(production.stop)
            _calm_collector()
            await _run(production, plan.pace.total, quiet=quiet)
    return production.tally


async def _aggregating(clients: Clients, plain: KinesisWriter, rules: CallRules) -> AggregatingWriter:
    shards = KinesisStream(clients.kinesis, plain.stream).list_shards
    writer = AggregatingWriter(plain, shards, rules.run_bytes)
    await writer.check()
    return writer


def _header(stream: str, plan: Plan) -> Header:
    form = FORMAT_WITH_AGGREGATES if plan.rules.aggregates else FORMAT
    return Header(format=form, stream=stream, shape=asdict(plan.shape))


async def _run(production: Production, total: int | None, *, quiet: bool) -> None:
    try:
        async with TaskGroup() as tasks:
            shown = tasks.create_task(show_progress(production.tally, total, quiet=quiet), name="progress")
            await production.run()
            shown.cancel()
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None


def _calm_collector() -> None:
    """What is loaded stays, and records make no cycles: looking for garbage as often as usual costs 1 us a record."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)


def _on_signals(stop: Callable[[], None]) -> None:
    """The first signal stops; the handlers then go, so that a second one ends the process at once."""
    loop = asyncio.get_running_loop()

    def stop_once() -> None:
        stop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop_once)


def _known(workload: str) -> str:
    if workload not in WORKLOADS:
        raise SettingsError("--workload", workload, "is not known", f"Name one of {', '.join(WORKLOADS)}")
    return workload


def _positive(rate: float | None) -> float | None:
    if rate is not None and not 0 < rate < float("inf"):
        raise SettingsError("--rate", rate, "is not above 0", "Leave it out to produce as fast as the stream takes")
    return rate


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return duration(text).total_seconds()
    except Unfit as error:
        raise SettingsError("--duration", text, error.problem, error.mend) from None


def _figures(tally: Tally) -> dict[str, Any]:
    seconds = max(tally.elapsed_s, 1e-9)
    return {
        "records": tally.records,
        "poison": tally.poison,
        "bytes": tally.size,
        "seconds": round(tally.elapsed_s, 3),
        "records_per_second": round(tally.records / seconds, 1),
        "calls": len(tally.latencies_s),
        "retries": tally.retries,
        "put_records_p50_ms": round(tally.percentile_s(0.5) * 1000, 1),
        "put_records_p99_ms": round(tally.percentile_s(0.99) * 1000, 1),
    }


def _as_json(tally: Tally) -> str:
    return msgspec.json.encode(_figures(tally)).decode() + "\n"


def _as_text(tally: Tally) -> str:
    told = _figures(tally)
    return (
        f"{told['records']:,} records ({told['poison']:,} poison), {told['bytes']:,} bytes in {told['seconds']:.1f} s: "
        f"{told['records_per_second']:,.0f} records/s; {told['retries']:,} retries; "
        f"PutRecords p50 {told['put_records_p50_ms']:.1f} ms, p99 {told['put_records_p99_ms']:.1f} ms\n"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with `arguments`, the process's own by default, and give its exit code."""
    try:
        app(args=arguments, prog_name="headrace-producer", standalone_mode=False)
    except Misuse as error:
        return _fail(str(cast("Any", error).format_message()), 2)
    except SettingsError as error:
        return _fail(str(error), 2)
    except (HeadraceError, OSError) as error:
        return _fail(str(error), 1)
    except KeyboardInterrupt:
        return 130
    return 0


def _fail(message: str, code: int) -> int:
    with suppress(BrokenPipeError):
        sys.stderr.write(f"{message}\n")
    return code
