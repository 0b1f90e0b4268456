"""The reference of the commands is made from the command line."""

from pathlib import Path

from headrace.cli.reference import EXIT_CODES, markdown

PAGE = Path(__file__).parents[2] / "docs" / "commands.md"


def test_the_page_in_docs_is_the_one_made_from_the_commands():
    """Make it with `python -m headrace.cli.reference > docs/commands.md`."""
    assert PAGE.read_text() == markdown()


def test_exit_codes_are_told_of_commands_that_exist():
    """A command that was renamed takes its table along."""
    for command in EXIT_CODES:
        assert f"## headrace {command}\n" in markdown()
