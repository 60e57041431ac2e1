"""Lists of sessions, which are exported as batches."""

from __future__ import annotations

from pathlib import Path

from dropin_world import World
from sessions import sample_session, wait_until


def test_sessions_are_exported_and_a_bad_one_does_not_affect_the_others(world: World) -> None:
    sessions = [sample_session() for _ in range(4)]
    reviews = [(session, None, None) for session in sessions]
    # A missing document: this session alone fails.
    reviews[2] = (sessions[2], world.folder / "missing.docx", None)
    found = world.manager().export_complete_reviews_to_s3(reviews)
    assert [result["success"] for result in found] == [True, True, found[2]["success"], True]
    good = [found[0], found[1], found[3]]
    assert all(result["location"].startswith("s3://tara-test/") for result in good), found
    exported = set(world.exports())
    assert {result["request_id"] for result in good} <= exported
    assert not list((world.folder / "queue").glob("[!.]*/entry.json"))
    # They were sent as a batch.
    notes = Path(world.addresses["folder"])
    wait_until(lambda: len(list(notes.rglob("batches/ended/*.json"))) == 1)


def test_sessions_are_queued_while_the_server_is_unreachable(world: World) -> None:
    reviews = [(sample_session(), None, None) for _ in range(3)]
    found = world.manager(world.unreachable).export_complete_reviews_to_s3(reviews)
    assert [result["location"] for result in found] == ["queued"] * 3
    # Sent later, each once.
    sent = world.manager().send_queued()
    assert sorted(result["request_id"] for result in sent) == sorted(result["request_id"] for result in found)
    assert len(world.exports()) == 3


def test_refused_address_fails_each_session(world: World) -> None:
    reviews = [(sample_session(), None, None) for _ in range(2)]
    found = world.manager().export_complete_reviews_to_s3(reviews, notify_emails=["ada@example.com"])
    assert [result["location"] for result in found] == ["failed"] * 2
    assert all("notify_emails" in result["error"] for result in found), found
    assert world.exports() == []
