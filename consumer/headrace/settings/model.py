"""The whole of the settings, and what must hold between them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, Final, TypeAlias

from pydantic import AfterValidator, BeforeValidator, SecretStr, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from headrace.core.destination import Kind, parse
from headrace.core.tenure import LeaseTiming
from headrace.errors import SettingsError
from headrace.settings import groups, texts, units

Path: TypeAlias = tuple[str, ...]
"""Where a setting is: `("batch", "size")`, or `("application",)`."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with one setting."""

    path: Path
    problem: str
    mend: str


class Conflict(ValueError):  # noqa: N818 - pydantic carries it; the user sees a SettingsError
    """Settings that are good one by one and do not fit together."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("; ".join(problem.problem for problem in problems))
        self.problems = problems


class Settings(BaseSettings):
    """Everything a worker can be told. Made by `load`; made directly, it reads no environment and no file."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", validate_default=False)

    application: Annotated[str, BeforeValidator(texts.application)]
    """Name of the consumer group: workers with the same name share the shards. Names the lease table and the dead-letter table unless they are named themselves."""

    handler: groups.OptionalText = None
    """`module:function` of the handler, or `module.function` as in Lambda; without one, JSON payloads become items by the item settings."""

    handler_kind: Annotated[str, BeforeValidator(units.choice("auto", "record", "batch", "lambda"))] = "auto"
    """What the handler is called with: a record, a batch, or a Lambda event. auto: told from its name and signature."""

    handler_name: groups.OptionalText = None
    """Function name that a Lambda handler is told, which idempotency keys may depend on; the application unless set."""

    handler_timeout: Annotated[
        groups.Duration, AfterValidator(units.within(timedelta(seconds=1), timedelta(hours=24)))
    ] = timedelta(seconds=60)
    """Longest that one call of a Lambda or batch handler may take; then its process is killed, and the call has failed."""

    handler_processes: Annotated[int, AfterValidator(units.within(0, 1000))] = 0
    """Processes of a Lambda or plain batch handler, each with one call at a time; 0: one for each processor."""

    handler_threads: Annotated[int, AfterValidator(units.within(0, 1000))] = 0
    """Threads for a plain record handler that waits for something; 0: it is called on the event loop, which is fastest and must not be held up."""

    handler_memory: Annotated[groups.Size, AfterValidator(units.within(2**20, 2**40)), groups.Shown("128MiB")] = (
        128 * 2**20
    )
    """Memory size that a Lambda handler is told; nobody enforces it."""

    processes: Annotated[int, BeforeValidator(texts.processes)] = 1
    """Worker processes that `headrace run` keeps, each with leases of its own; `auto`: one for each processor. A supervising process restarts one that dies and serves health and metrics of all on one port."""

    admin_token: Annotated[SecretStr | None, BeforeValidator(texts.secret)] = None
    """Secret of 16 characters or more that the page asks for before it shows a payload or changes anything; without one it only shows. Give it in the environment, not in the file."""

    native: Annotated[str, BeforeValidator(units.choice("auto", "off"))] = "auto"
    """Whether the compiled transcoder (the extra `native`) does the work it can do: auto, where it is installed; off, never. What is written is the same; a record takes about half of the CPU with it."""

    create_tables: bool = True
    """Whether the lease table and the dead-letter table are made when missing. The serving table and the stream never are."""

    stream: groups.StreamSettings
    sink: groups.SinkSettings
    item: groups.ItemSettings
    batch: groups.BatchSettings
    filter: groups.FilterSettings
    retry: groups.RetrySettings
    dead_letters: groups.DeadLetterSettings
    lease: groups.LeaseSettings
    checkpoint: groups.CheckpointSettings
    ops: groups.OpsSettings
    shutdown: groups.ShutdownSettings
    fetch: groups.FetchSettings
    log: groups.LogSettings
    traces: groups.TracesSettings

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the signature is pydantic-settings'
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - likewise
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - likewise
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - likewise
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what is handed in: `sources` reads environment and file by the exact names, `load` merges them."""
        return (init_settings,)

    @property
    def timing(self) -> LeaseTiming:
        """The durations of the lease protocol that follow from `lease.duration`."""
        return LeaseTiming.derived(self.lease.duration.total_seconds())

    @property
    def serving_table(self) -> str:
        """The sink's table, where there has to be one. Raises SettingsError without."""
        if self.sink.table is None:
            problem, mend = (
                "is required, except for Lambda and batch handlers that write by themselves",
                "Name the table",
            )
            raise SettingsError("HEADRACE_SINK_TABLE", None, problem, mend)
        return self.sink.table

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, given: dict[str, Any]) -> dict[str, Any]:
        """Add what follows from other settings: every group, the tables named after the application, a worker id."""
        whole = {**{name: {} for name in group_names()}, **given}
        with suppress(units.Unfit):  # a bad or missing application is reported once, as itself
            name = texts.application(whole.get("application"))
            whole["lease"] = {"table": name, **whole["lease"]}
            whole["dead_letters"] = {"destination": f"dynamodb:{name}-dead-letters", **whole["dead_letters"]}
        if whole.get("handler") is None and whole.get("handler_kind") not in {"lambda", "batch"}:
            whole["sink"] = {"table": texts.REQUIRED, **whole["sink"]}
        whole["lease"] = {"worker_id": texts.fresh_worker_id(), **whole["lease"]}
        return whole

    @model_validator(mode="after")
    def _agree(self) -> Settings:
        if problems := list(conflicts(self)):
            raise Conflict(problems)
        return self


def group_names() -> list[str]:
    """The names of the groups, in the order of the model."""
    fields = Settings.model_fields.items()
    return [name for name, field in fields if isinstance(field.annotation, type) and issubclass(field.annotation, groups.Group)]  # fmt: skip


def conflicts(settings: Settings) -> Iterator[Problem]:
    """What does not fit together, in the order of the model."""
    yield from _consumer_conflicts(settings)
    yield from _handler_conflicts(settings)
    yield from _item_conflicts(settings)
    yield from _table_conflicts(settings)
    yield from _mode_conflicts(settings)
    try:
        _ = settings.timing
    except ValueError as error:
        yield Problem(("lease", "duration"), f"gives no safe lease: {error}", "Choose a longer lease.duration")


LONGEST_CONSUMER: Final = 128
"""Kinesis API reference, RegisterStreamConsumer."""

_HANDLER_ONLY: Final = (
    "handler_kind",
    "handler_name",
    "handler_timeout",
    "handler_processes",
    "handler_threads",
    "handler_memory",
)


def _consumer_conflicts(settings: Settings) -> Iterator[Problem]:
    stream = settings.stream
    if stream.consumer == "polling" and stream.consumer_name is not None:
        yield Problem(("stream", "consumer_name"), "has no effect with polling", "Set stream.consumer to fan-out, or remove it")  # fmt: skip
    if stream.consumer == "fan-out" and stream.consumer_name is None and len(settings.application) > LONGEST_CONSUMER:
        problem = "registers a stream consumer named after the application, whose name is too long for that"
        yield Problem(("stream", "consumer"), problem, f"Set stream.consumer_name to at most {LONGEST_CONSUMER} characters")  # fmt: skip


def _handler_conflicts(settings: Settings) -> Iterator[Problem]:
    if settings.handler is None:
        for name in _HANDLER_ONLY:
            if getattr(settings, name) != Settings.model_fields[name].default:
                yield Problem((name,), "has no effect without a handler", "Set handler to the function, or remove it")
    window = settings.batch.tumbling_window
    if window % timedelta(seconds=1):
        yield Problem(("batch", "tumbling_window"), "is not in whole seconds", "Write it like 60s")
    if window and settings.retry.on_exhausted == "park_key":
        problem = "parks keys, and with tumbling windows a buried record cannot be told apart from the state before it"
        yield Problem(("retry", "on_exhausted"), problem, "Set it to dead_letter, or leave batch.tumbling_window out")
    if window and settings.batch.parallelization_factor > 1:
        problem = "is more than one, and tumbling windows have one state for a shard, in the order of its records"
        yield Problem(("batch", "parallelization_factor"), problem, "Set it to 1, or leave batch.tumbling_window out")


def _item_conflicts(settings: Settings) -> Iterator[Problem]:
    item = settings.item
    if settings.handler is not None:
        for name in sorted(item.model_fields_set):
            yield Problem(("item", name), "has no effect with a handler", "Remove it, or remove the handler")
    elif item.ttl_attribute and item.ttl_after is None:
        yield Problem(
            ("item", "ttl_attribute"), "says where the expiry goes but not when", "Set item.ttl_after as well"
        )
    elif item.ttl_after is not None and not item.ttl_attribute:
        yield Problem(("item", "ttl_after"), "says when items expire but not where to write it", "Set item.ttl_attribute as well")  # fmt: skip


def _mode_conflicts(settings: Settings) -> Iterator[Problem]:
    sink = settings.sink
    if sink.mode != "latest":
        for name in ("order_by", "order_attribute"):
            if getattr(sink, name) == groups.SinkSettings.model_fields[name].default:
                continue
            yield Problem(("sink", name), f"has no effect in mode {sink.mode}", "Remove it, or set sink.mode to latest")
    elif sink.order_by == sink.order_attribute:
        yield Problem(("sink", "order_by"), "is the attribute that keeps the record's order", "Name an attribute of yours, or another sink.order_attribute")  # fmt: skip


def _table_conflicts(settings: Settings) -> Iterator[Problem]:
    if settings.sink.table is not None and settings.lease.table == settings.sink.table:
        yield Problem(("sink", "table"), "is the lease table", "Name a table of its own for results")
    if settings.dead_letters.table is not None and settings.dead_letters.table in {
        settings.sink.table,
        settings.lease.table,
    }:
        yield Problem(("dead_letters", "destination"), "is a table that already has another use", "Name a table of its own for dead letters")  # fmt: skip
    kind = parse(settings.dead_letters.destination).kind
    if settings.dead_letters.spill is not None and kind not in {Kind.SQS, Kind.SNS}:
        yield Problem(("dead_letters", "spill"), "has no effect: this destination takes payloads of any size", "Leave it out")  # fmt: skip
    if settings.retry.on_exhausted == "park_key" and _may_lose_payloads(settings):
        problem = (
            "parks keys, and this destination may lose a payload, behind which later records could not be redriven"
        )
        yield Problem(("retry", "on_exhausted"), problem, "Set dead_letters.spill, or name a table or an S3 bucket as destination")  # fmt: skip


def _may_lose_payloads(settings: Settings) -> bool:
    kind = parse(settings.dead_letters.destination).kind
    return kind is Kind.SNS or (kind is Kind.SQS and settings.dead_letters.spill is None)
