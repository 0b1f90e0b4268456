"""docs/events.md tells every event; that it is the one made from the sources, tests/deploy/test_rendered.py holds."""

from render import events


def test_every_event_that_is_logged_has_a_meaning_and_no_other_has():
    """A new one gets a line in tools/render/events.py; one that is gone loses it."""
    told = [name for meanings in events.MEANINGS.values() for name in meanings]
    assert sorted(told) == sorted(events.events())
    assert all(meaning.endswith(".") for meanings in events.MEANINGS.values() for meaning in meanings.values())


def test_events_are_found_however_they_are_logged(tmp_path):
    """Plainly, by a level that is chosen, by a name that is a constant; what only looks like one is none."""
    (tmp_path / "logs.py").write_text(
        "log = structlog.get_logger(__name__)\n"
        'NAME: Final = "third_happened"\n'
        "def act(loud):\n"
        '    log.info("first_happened", shard=1, **more)\n'
        "    tell = log.error if loud else log.warning\n"
        '    tell("second_happened", error="x")\n'
        '    (log.error if loud else log.info)("second_happened", again=1)\n'
        "    log.exception(NAME)\n"
        '    other.info("nothing_happened")\n'
    )
    found = events.events((tmp_path,))
    assert {name: (event.levels, event.fields) for name, event in found.items()} == {
        "first_happened": (["info"], ["shard", "..."]),
        "second_happened": (["error", "warning", "info"], ["error", "again"]),
        "third_happened": (["exception"], []),
    }
