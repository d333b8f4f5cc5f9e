"""Which kind of session a server is read by: tables of what happens and what follows."""

from resmon_resources.session_choice import (
    REMEMBER_SECONDS,
    SHORT_LIFE_SECONDS,
    SHORT_LIVES_UNTIL_EXEC,
    ModeChange,
    SessionChoice,
)

DAY = REMEMBER_SECONDS
HOW = "ended with exit status 0"


def ended(choice: SessionChoice, now: float, *, answers: int = 0, lived: float = 1) -> bool:
    """A session of the kind that was due has ended; whether another is worth it."""
    mode = choice.next_mode(now)
    return choice.note_end(mode, now, lived=lived, answers=answers, how=HOW)


def exec_from(start: float) -> SessionChoice:
    """A choice that has turned out to be exec at `start`."""
    choice = SessionChoice()
    assert ended(choice, start)
    choice.note_answer("exec", start)
    assert choice.take_change() is not None
    return choice


def test_a_kept_session_without_an_answer_and_a_single_one_with() -> None:
    """A host whose standard input is closed must be read all the same, and be remembered."""
    choice = SessionChoice()
    assert choice.next_mode(0) == "pull"
    assert ended(choice, 0)
    assert choice.next_mode(0) == "exec"
    assert choice.take_change() is None, "nothing is known before it has answered"
    choice.note_answer("exec", 1)
    assert choice.take_change() == ModeChange(
        "exec", f"a session that was kept open {HOW} without an answer"
    )
    assert (choice.mode, choice.next_mode(2)) == ("exec", "exec")
    assert choice.take_change() is None, "told once"


def test_two_sessions_without_an_answer_are_a_broken_connection() -> None:
    """A host that runs nothing must not be asked for ever, nor be remembered as anything."""
    choice = SessionChoice()
    assert ended(choice, 0)
    assert not ended(choice, 0)
    assert (choice.mode, choice.next_mode(0), choice.change) == ("pull", "pull", None)


def test_a_session_that_ends_after_answers_is_started_again() -> None:
    """A shell that was killed once must not cost a day of single sessions."""
    choice = SessionChoice()
    for _ in range(SHORT_LIVES_UNTIL_EXEC - 1):
        assert ended(choice, 0, answers=2)
        assert choice.next_mode(0) == "pull"
    assert ended(choice, 0, answers=100, lived=SHORT_LIFE_SECONDS)
    assert ended(choice, 0, answers=2)
    assert (choice.next_mode(0), choice.change) == ("pull", None)


def test_short_lives_in_a_row_are_a_host_that_keeps_no_session() -> None:
    """A limit of time on sessions must not cost a sample each time that it strikes."""
    choice = SessionChoice()
    for _ in range(SHORT_LIVES_UNTIL_EXEC):
        assert ended(choice, 0, answers=2, lived=40)
    change = choice.take_change()
    assert change is not None
    assert change.mode == "exec"
    assert change.reason.endswith(f"the last {HOW} after 40 s")


def test_after_a_day_a_kept_session_is_on_trial_and_must_live() -> None:
    """A host that was repaired must come back by itself, and not for one answer."""
    choice = exec_from(0)
    assert choice.next_mode(DAY - 1) == "exec"
    assert choice.next_mode(DAY) == "pull"
    choice.note_answer("pull", DAY)
    choice.note_answer("pull", DAY + SHORT_LIFE_SECONDS - 1)
    assert (choice.mode, choice.change) == ("exec", None)
    choice.note_answer("pull", DAY + SHORT_LIFE_SECONDS)
    change = choice.take_change()
    assert (choice.mode, change and change.mode) == ("pull", "pull")


def test_a_trial_that_ends_is_one_session_a_day() -> None:
    """A host that was not repaired must not be tried at every tick, nor by every new collector."""
    choice = exec_from(0)
    for answers in (0, 3):
        choice.retry_pull(10)
        assert choice.next_mode(10) == "pull"
        if answers:
            choice.note_answer("pull", 10)
        assert ended(choice, 10, answers=answers), "the tick goes to a single session"
        assert choice.next_mode(10) == "exec"
        change = choice.take_change()
        assert change is not None
        assert change.mode == "exec", "remembered anew, so that its day begins again"
        choice.note_answer("exec", 10)
        assert choice.next_mode(10 + DAY - 1) == "exec"


def test_a_single_session_that_fails_has_a_kept_one_to_try() -> None:
    """A host on which only kept sessions work now must not stay lost for a day."""
    choice = exec_from(0)
    assert ended(choice, 1)
    assert choice.next_mode(1) == "pull"
    choice.note_answer("pull", 1)
    assert choice.note_end("pull", 2, lived=1, answers=1, how=HOW), "back, without a login"
    assert choice.next_mode(2) == "exec"


def test_a_tick_never_has_more_than_three_sessions() -> None:
    """A host on which everything ends at once must not be flooded with sessions."""
    choice = exec_from(0)
    choice.retry_pull(1)
    sessions = 1
    while ended(choice, 1):
        sessions += 1
    assert sessions == 3


def test_what_is_remembered_is_the_beginning() -> None:
    """A collector that follows another must not find everything out again."""
    choice = SessionChoice("exec", again_at=100)
    assert (choice.next_mode(99), choice.next_mode(100)) == ("exec", "pull")
