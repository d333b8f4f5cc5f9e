"""Framing of the probe's bytes: whole frames of this connection, or nothing."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resmon_resources.errors import ProbeUnreadable
from resmon_resources.probe.framing import (
    MAX_BYTES_PER_ANSWER,
    MAX_FRAME_LINES,
    MAX_LINE_BYTES,
    NOISE_BYTES,
    Answer,
    AnswerAssembler,
)
from resmon_resources.probe.reading import parse_answer
from tests.unit.probe.live_probe import GOLDEN, NONCE


def marker(kind: str, tick: int, rest: str = "") -> bytes:
    return f"@@RESMON1 {NONCE} {kind} {tick}{rest}\n".encode()


def core(tick: int, body: bytes = b"up 1.00 1.00\n") -> bytes:
    return marker("B", tick) + body + marker("E", tick)


def disk(tick: int, body: bytes = b"df 0\n") -> bytes:
    return marker("D", tick) + body + marker("F", tick)


def feed(*pieces: bytes) -> list[Answer]:
    assembler = AnswerAssembler(NONCE)
    return [answer for piece in pieces for answer in assembler.feed(piece)]


WHOLE = Answer(tick=1, core=("up 1.00 1.00",), disk=("df 0",))


def test_an_answer_needs_core_and_disk():
    """Would let a sample be stored before its disk is in, or never."""
    assembler = AnswerAssembler(NONCE)
    assert assembler.feed(core(1)) == []
    assert assembler.feed(disk(1)) == [WHOLE]


def test_a_disk_frame_may_come_before_its_core():
    """Would lose a tick when the background is faster than the foreground."""
    assert feed(disk(1), core(1)) == [WHOLE]


def test_the_size_of_the_pieces_does_not_matter():
    """Would make answers depend on how TCP cuts them."""
    stream = core(1) + disk(1)
    assert feed(*(stream[i : i + 1] for i in range(len(stream)))) == [WHOLE]


def test_carriage_returns_are_dropped():
    """Would make every value unreadable on a host whose channel translates line ends."""
    assert feed((core(1) + disk(1)).replace(b"\n", b"\r\n")) == [WHOLE]


def test_a_reason_takes_the_place_of_the_disk():
    """Would blank CPU and memory while df hangs."""
    (answer,) = feed(core(7), marker("X", 7, " df-busy"))
    assert (answer.tick, answer.disk, answer.disk_reason) == (7, None, "df-busy")
    assert answer.core


def test_a_host_without_proc_is_told_from_an_unreadable_one():
    """Would give a BSD host the cause `unreadable`."""
    (answer,) = feed(marker("X", 1, " no-proc Darwin"))
    assert answer.unsupported == "no-proc Darwin"
    assert answer.core == ()


def test_ticks_are_kept_apart():
    """Would put the disk of one tick beside the core of another."""
    answers = feed(core(1), core(2), marker("X", 2, " df-busy"), disk(1))
    assert [(a.tick, a.disk) for a in answers] == [(2, None), (1, ("df 0",))]


@pytest.mark.parametrize(
    "stream",
    [
        marker("B", 1) + b"up 1.00 1.00\n" + marker("E", 2) + disk(1),
        marker("B", 1) + b"up 1.00 1.00\n" + marker("F", 1) + disk(1),
        marker("E", 1) + disk(1),
        marker("B", 1) + b"cpu 1 2\n" + marker("B", 2) + marker("E", 1) + disk(1),
        (core(1) + disk(1)).replace(NONCE.encode(), b"another0another0"),
        b"@@RESMON1 B 1\nup 1\n@@RESMON1 E 1\n" + disk(1),
        marker("B", 1) + b"up 1 @@RESMON1 x\n" + marker("E", 1) + disk(1),
        core(1).replace(b" B 1", b" B one") + disk(1),
        core(1).replace(b" B 1", b" B 1 more") + disk(1),
        core(1).replace(b" B 1", b" B " + b"1" * 19) + disk(1),
        core(1)[:-1],
    ],
    ids=[
        "ticks differ", "kinds differ", "no begin", "begun twice", "other nonce", "no nonce",
        "spliced", "no number", "words after", "huge number", "unfinished",
    ],
)  # fmt: skip
def test_a_core_that_is_not_whole_gives_no_answer(stream: bytes):
    """Would store numbers of a truncated, forged or interleaved frame."""
    assert feed(stream) == []


def test_a_spliced_disk_frame_is_dropped_and_its_core_delivered():
    """Would store a number glued together from two frames, or hold the core back for ever."""
    spliced = marker("D", 1) + b"/dev/sda 12" + core(2) + b"34 5 6 7% /\n" + marker("F", 1)
    answers = feed(core(1), spliced, disk(2))
    # The marker of the core stood in the middle of a line, so that core is lost too.
    assert [(a.tick, a.disk_reason) for a in answers] == [(1, "disk-garbled")]


def test_a_disk_frame_broken_by_another_marker_is_dropped():
    """Would hand out a disk frame with the lines of a core inside."""
    answers = feed(core(1), marker("D", 1), b"df 0\n", core(2), marker("F", 1), disk(2))
    assert [(a.tick, a.disk_reason) for a in answers] == [(1, "disk-garbled"), (2, None)]


def test_two_answers_completed_by_one_marker_are_both_delivered():
    """Would lose a tick whose disk frame is cut off by the reason of the next."""
    answers = feed(core(1), core(2), marker("D", 1), marker("X", 2, " df-busy"))
    assert [(a.tick, a.disk_reason) for a in answers] == [(1, "disk-garbled"), (2, "df-busy")]


def test_expire_gives_the_core_once_and_drops_what_comes_late():
    """Would store a tick twice, or never when df hangs on its first answer."""
    assembler = AnswerAssembler(NONCE)
    assembler.feed(core(1))
    answer = assembler.expire(1)
    assert answer is not None
    assert (answer.core, answer.disk, answer.disk_reason) == (WHOLE.core, None, "disk-late")
    assert assembler.feed(disk(1) + core(1) + marker("X", 1, " df-busy")) == []
    assert assembler.expire(1) is None


def test_a_tick_that_waits_for_its_disk_only_is_known():
    """Would let the caller wait as long for a silent host as for a slow df."""
    assembler = AnswerAssembler(NONCE)
    assert not assembler.has_core(1)
    assembler.feed(core(1))
    assert assembler.has_core(1)
    assembler.feed(disk(1))
    assert not assembler.has_core(1)


def test_expire_without_a_core_is_nothing():
    """Would count a silent host as read."""
    assembler = AnswerAssembler(NONCE)
    assembler.feed(disk(1))
    assert assembler.expire(1) is None


def test_a_second_answer_to_the_same_tick_is_dropped():
    """Would deliver a tick twice when a host repeats itself."""
    assert feed(core(1), disk(1), core(1), disk(1)) == [WHOLE]


def test_noise_outside_frames_is_dropped_and_its_beginning_kept():
    """Would lose the one hint why a login does not work, or let it write to the terminal."""
    assembler = AnswerAssembler(NONCE)
    answers = assembler.feed(
        b"Welcome!\n\x1b[2J\xff\n" + core(1) + b"more\n" + disk(1) + b"Password:"
    )
    assert answers == [WHOLE]
    assert assembler.noise == "Welcome!\n?[2J\N{REPLACEMENT CHARACTER}\nmore\nPassword:"
    assembler.feed(b"x" * 1000 + b"\n")
    assert len(assembler.noise) == NOISE_BYTES


@pytest.mark.parametrize(
    "stream",
    [
        b"x" * (MAX_LINE_BYTES + 1),
        b"x" * (MAX_LINE_BYTES + 1) + b"\n",
        marker("B", 1) + b"x\n" * (MAX_FRAME_LINES + 1),
        b"y\n" * (MAX_BYTES_PER_ANSWER // 2 + 1),
        b"".join(marker("B", 1) for _ in range(MAX_BYTES_PER_ANSWER // 30)),
    ],
    ids=["open line", "whole line", "lines of a frame", "noise without end", "begins without end"],
)
def test_limits_end_the_connection(stream: bytes):
    """Would let one host fill the memory of the collector."""
    assembler = AnswerAssembler(NONCE)
    with pytest.raises(ProbeUnreadable, match="login shell"):
        assembler.feed(stream)
    with pytest.raises(ProbeUnreadable):
        assembler.feed(core(1) + disk(1))


def test_memory_stays_bounded_when_ticks_are_left_half_answered():
    """Would grow without end on a host that answers half of every tick between whole ones."""
    assembler = AnswerAssembler(NONCE)
    for tick in range(1, 2001, 2):
        assembler.feed(core(tick) + core(tick + 1) + disk(tick + 1))
    assert len(assembler._pending) <= 16


def test_feeding_byte_by_byte_takes_linear_time():
    """Would let a slow host burn a core: a quadratic buffer takes minutes here."""
    line = b"z" * 60_000 + b"\n"
    data = line * 17
    assembler = AnswerAssembler(NONCE)
    started = time.process_time()
    for i in range(1_000_000):
        assembler.feed(data[i : i + 1])
    assert time.process_time() - started < 30


GOLDEN_STREAMS = [path.read_bytes() for path in sorted(GOLDEN.glob("*.txt"))]


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A recorded stream with some bytes replaced, cut out or put in."""
    stream = bytearray(draw(st.sampled_from(GOLDEN_STREAMS)))
    for _ in range(draw(st.integers(0, 6))):
        start = draw(st.integers(0, len(stream)))
        length = draw(st.integers(0, 80))
        stream[start : start + length] = draw(st.binary(max_size=40))
    return bytes(stream)


def digest(stream: bytes, size: int) -> int:
    """Feed and parse all of it; how many readings came out."""
    assembler = AnswerAssembler(NONCE)
    count = 0
    try:
        for start in range(0, len(stream), size):
            for answer in assembler.feed(stream[start : start + size]):
                parse_answer(answer)
                count += 1
    except ProbeUnreadable:
        assert assembler.noise is not None
    assembler.expire(1)
    return count


@given(damaged(), st.integers(1, 2000))
def test_damaged_answers_raise_only_probe_unreadable(stream: bytes, size: int):
    """Would let one garbled answer end the collector with a ValueError."""
    assert digest(stream, size) <= 3


@given(st.binary(max_size=4000), st.integers(1, 500))
def test_any_bytes_raise_only_probe_unreadable(stream: bytes, size: int):
    """Would let a foreign program on the other end break the collector."""
    digest(stream, size)


LINES = st.lists(
    st.one_of(
        st.sampled_from(["boot ", "up ", "cpu ", "online ", "load ", "mem ", "net ", "df ", "now ",
                         "root ", "mounts ", "/dev/sda ", "tank/a b "]).flatmap(
            lambda word: st.text(
                st.sampled_from("0123456789 .-:,/%eE\x00\udcff\N{ARABIC-INDIC DIGIT ONE}aMemTotal"),
                max_size=60,
            ).map(word.__add__)
        ),
        st.text(max_size=20).map(lambda text: text.replace("\n", "")),
    ),
    max_size=14,
)  # fmt: skip


@given(LINES, LINES, st.none() | st.just("no-proc x"))
@settings(max_examples=300)
def test_any_lines_in_whole_frames_raise_only_probe_unreadable(
    core_lines: list[str], disk_lines: list[str], unsupported: str | None
):
    """Would let a host with an odd /proc break the collector, or a negative number into a table."""
    answer = Answer(tick=1, core=tuple(core_lines), disk=tuple(disk_lines), unsupported=unsupported)
    try:
        reading = parse_answer(answer)
    except ProbeUnreadable:
        return
    for value in (reading.memory_used_bytes, reading.disk_used_bytes, reading.uptime_ms):
        assert value is None or 0 <= value < 2**63
