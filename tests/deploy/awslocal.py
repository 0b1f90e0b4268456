"""Stands in for the AWS command line inside of a look-alike: `SERVICE OPERATION --name value...`, by botocore's models."""

from __future__ import annotations

import json
import sys
from typing import Any

import botocore.session
from botocore.exceptions import ClientError
from botocore.model import Shape


def main(*words: str) -> int:
    try:
        print(json.dumps(ask(*words), default=str))
    except ClientError as error:
        print(error, file=sys.stderr)
        return 254
    return 0


def ask(service: str, operation: str, *options: str) -> dict[str, Any]:
    """The answer to one call."""
    client = botocore.session.get_session().create_client(service)
    name = operation.replace("-", "_")
    members = client.meta.service_model.operation_model(client.meta.method_to_api_mapping[name]).input_shape.members
    by_option = {"--" + kebab(member): (member, shape) for member, shape in members.items()}
    given: dict[str, list[str]] = {}
    for word in options:
        if word.startswith("--"):
            given[word] = []
        else:
            given[list(given)[-1]].append(word)
    arguments = {by_option[option][0]: value(by_option[option][1], words) for option, words in given.items()}
    answer: dict[str, Any] = getattr(client, name)(**arguments)
    return answer


def kebab(name: str) -> str:
    return "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("-")


def value(shape: Shape, words: list[str]) -> Any:
    match shape.type_name:
        case "integer":
            return int(words[0])
        case "list":
            return [dict(pair.split("=", 1) for pair in word.split(",")) if "=" in word else word for word in words]
        case _:
            return words[0]


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
