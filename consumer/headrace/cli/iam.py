"""`headrace iam`: the least-privilege policy for the enabled features. Asks nobody: settings alone decide."""

from __future__ import annotations

import json
import os
import sys
from typing import Final

from headrace.core.destination import parse
from headrace.core.iam import Needs, Place, operator_policy, worker_policy
from headrace.errors import SettingsError
from headrace.settings import Settings

ROLES: Final = {"worker": worker_policy, "operator": operator_policy}


def iam(settings: Settings, role: str, region: str | None, account: str | None, kms_key: str | None) -> int:
    """Print the policy as JSON, and beside it what is not known; 0. Raises SettingsError."""
    if role not in ROLES:
        raise SettingsError("--role", role, "is not known", "Write worker or operator")
    place = place_of(settings, region, account)
    sys.stdout.write(json.dumps(ROLES[role](needs_of(settings, kms_key), place), indent=2) + "\n")
    unknown = [name for name, value in (("--region", place.region), ("--account", place.account)) if value == "*"]
    if unknown:
        sys.stderr.write(f"ARNs hold * for what is not known: give {' and '.join(unknown)} for the least.\n")
    return 0


def place_of(settings: Settings, region: str | None, account: str | None) -> Place:
    """From the options, the environment, or the stream's ARN."""
    parts = settings.stream.name.split(":") if settings.stream.name.startswith("arn:") else []
    named = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    return Place(region or named or (parts[3] if parts else "*"), account or (parts[4] if parts else "*"))


def needs_of(settings: Settings, kms_key: str | None = None) -> Needs:
    """What the settings turn on."""
    spill = settings.dead_letters.spill
    return Needs(
        stream=settings.stream.name,
        lease_table=settings.lease.table,
        sink=settings.sink.table,
        sink_mode=settings.sink.mode,
        dead_letters=parse(settings.dead_letters.destination),
        spill=None if spill is None else parse(spill),
        makes_tables=settings.create_tables,
        fans_out=settings.stream.consumer == "fan-out",
        has_token=settings.admin_token is not None,
        kms_key=kms_key,
    )
