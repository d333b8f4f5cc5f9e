"""The spool on a real disk: what goes in comes out once and in order, whatever is cut off."""

import json
import os
import random
import resource
import signal
import struct
import subprocess
import zlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resmon_resources import spool as spool_module
from resmon_resources.sample_store import Failure, FileSystemUsage, Sample
from resmon_resources.spool import RefusedRows, Spool, read_state
from resmon_resources.spool_records import (
    HEADER_BYTES,
    SEGMENT_HEADER,
    Batch,
    decode_record,
    encode_record,
    read_header,
)

HOUR = datetime(2026, 3, 1, 10, tzinfo=UTC)

instants = st.integers(0, 2**51).map(
    lambda microseconds: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)
)
integers = st.none() | st.integers(-(2**63), 2**63 - 1)
floats = st.none() | st.floats(allow_nan=False)
keys = {"server_id": st.integers(1, 2**31 - 1), "organization_id": st.integers(1, 9)}
texts = st.text(st.characters(codec=None))
batches = st.builds(
    Batch,
    st.lists(
        st.builds(
            Sample,
            **keys,
            collected_at=instants,
            cpu_pct=floats,
            cpu_count=integers,
            disk_used_bytes=integers,
            load_15m=floats,
            clock_skew_seconds=floats,
        ),
        max_size=4,
    ),
    st.lists(
        st.builds(
            Failure,
            **keys,
            attempted_at=instants,
            cause=st.sampled_from(["timeout", "refused"]),
            detail=texts,
            is_final=st.booleans(),
        ),
        max_size=4,
    ),
    st.lists(
        st.builds(
            FileSystemUsage,
            **keys,
            collected_at=instants,
            mount=texts,
            device=texts,
            type=st.none() | texts,
            total_bytes=integers,
        ),
        max_size=4,
    ),
).filter(lambda batch: batch.row_count > 0)


def sample(number, *, server_id=1):
    return Sample(server_id, 7, HOUR + timedelta(seconds=number), cpu_pct=float(number % 100))


def batch_of(*numbers):
    return Batch([sample(number) for number in numbers], [], [])


def drained(spool, *, rows=1):
    """Everything that waits, as numbers of samples; nothing is left."""
    found = []
    while (batch := spool.head(rows=rows)) is not None:
        found += [int((row.collected_at - HOUR).total_seconds()) for row in batch.samples]
        spool.remove_head()
    return found


def opened(root, *, hour=HOUR, **changes):
    spool = Spool(root, hour=hour, **changes)
    spool.open()
    return spool


def segments(root):
    return sorted(root.rglob("*.spool"))


def decoded(record):
    """The batch of a record; None when it is not readable."""
    header = read_header(record)
    return None if header is None else decode_record(header, record[HEADER_BYTES:])


@given(batch=batches)
def test_a_batch_comes_back_as_it_was(batch):
    """Would let back: a value that a night on disk changes; null that becomes zero."""
    record = encode_record(batch)
    header = read_header(record)
    assert decoded(record) == batch
    assert header.samples == len(batch.samples)


@given(batch=batches, data=st.data())
def test_a_changed_byte_is_noticed(batch, data):
    """Would let back: garbage of a broken disk stored as a sample."""
    record = bytearray(encode_record(batch))
    at = data.draw(st.integers(0, len(record) - 1))
    record[at] ^= data.draw(st.integers(1, 255))
    assert decoded(bytes(record)) is None


def record_by_hand(tables):
    """A record as docs/decisions/0003-spool.md describes it."""
    payload = zlib.compress(json.dumps(tables).encode())
    checked = struct.pack(">Iq", len(tables["samples"]["rows"]), 0)
    checksum = zlib.crc32(checked + payload)
    return struct.pack(">II", len(payload), checksum) + checked + payload


def test_a_record_of_another_release_is_read_by_names():
    """Would let back: samples lost with an upgrade during an outage."""
    tables = {
        "samples": {
            "columns": ["swap_pct", "collected_at", "organization_id", "server_id", "cpu_pct"],
            "rows": [[50.0, 1_000_000, 7, 1, 5.0]],
        },
        "failures": {"columns": [], "rows": []},
        "file_systems": {"columns": [], "rows": []},
        "later": {},
    }
    record = record_by_hand(tables)
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    expected = Sample(1, 7, epoch + timedelta(seconds=1), cpu_pct=5.0)
    assert decoded(record) == Batch([expected], [], [])


def test_a_record_without_its_key_is_unreadable():
    """Would let back: a row of nobody."""
    tables = {
        "samples": {"columns": ["cpu_pct"], "rows": [[5.0]]},
        "failures": {"columns": [], "rows": []},
        "file_systems": {"columns": [], "rows": []},
    }
    record = record_by_hand(tables)
    assert decoded(record) is None


@settings(max_examples=60)
@given(cut=st.integers(0, 10_000))
def test_a_file_cut_anywhere_yields_whole_batches_in_order(tmp_path_factory, cut):
    """Would let back: a crash, a half sample, or good batches lost, after a kill in mid-write."""
    root = tmp_path_factory.mktemp("spool")
    spool = opened(root)
    ends = []
    for number in range(5):
        spool.append(batch_of(number))
        ends.append(segments(root)[0].stat().st_size)
    spool.close()
    (segment,) = segments(root)
    size = min(cut, ends[-1])
    os.truncate(segment, size)
    after = opened(root)
    assert after.adopt() == 1
    assert drained(after) == [number for number in range(5) if ends[number] <= size]
    assert (after.damaged_bytes == 0) == (size in {0, len(SEGMENT_HEADER), *ends})
    after.close()
    assert segments(root) == []


def test_what_was_appended_comes_out_in_order_while_more_comes_in(tmp_path):
    """Would let back: an order that depends on when the database came back; a batch twice."""
    spool = opened(tmp_path, limit_bytes=8 * 1200)
    found = []
    for number in range(40):
        spool.append(batch_of(number))
        if number % 3 == 0:
            batch = spool.head(rows=1)
            found += [int(row.cpu_pct) for row in batch.samples]
            spool.remove_head()
    found += drained(spool, rows=7)
    assert found == list(range(40))
    assert spool.is_empty
    assert spool.lost_samples == 0
    spool.close()
    assert list(tmp_path.iterdir()) == []


def test_head_is_given_again_until_it_is_removed(tmp_path):
    """Would let back: a batch forgotten because its transaction failed."""
    spool = opened(tmp_path)
    spool.append(batch_of(1))
    spool.append(batch_of(2))
    assert spool.head(rows=1) == spool.head(rows=1) == batch_of(1)
    assert spool.head(rows=100) == batch_of(1, 2)
    assert drained(spool) == [1, 2]


def test_a_full_spool_drops_the_oldest_and_counts_them(tmp_path):
    """Would let back: a disk filled by an outage, the newest lost first, a loss nobody sees."""
    limit = 20_000
    spool = opened(tmp_path, limit_bytes=limit)
    for number in range(400):
        spool.append(batch_of(number))
    kept = read_state(tmp_path)
    assert kept.size_bytes <= limit
    assert sum(path.stat().st_size for path in segments(tmp_path)) <= limit
    assert kept.samples + spool.lost_samples == 400
    assert sum(loss.samples for loss in kept.losses) == spool.lost_samples > 0
    assert kept.oldest_at == HOUR + timedelta(seconds=spool.lost_samples)
    assert drained(spool) == list(range(spool.lost_samples, 400))


def test_a_sample_takes_less_than_a_hundred_bytes():
    """Would let back: the eight hours of 10,000 servers that the documentation promises."""
    generator = random.Random(1)  # noqa: S311 - no secret
    rows = [
        Sample(
            number,
            7,
            HOUR + timedelta(milliseconds=number),
            cpu_pct=generator.random() * 100,
            cpu_count=generator.choice([2, 4, 8]),
            memory_used_bytes=generator.randrange(2**33) // 4096 * 4096,
            memory_total_bytes=2**33,
            disk_used_bytes=generator.randrange(2**38) // 1024 * 1024,
            disk_total_bytes=2**38,
            network_in_bytes=generator.randrange(10**7),
            network_out_bytes=generator.randrange(10**7),
            elapsed_ms=30_000 + generator.randrange(5),
            load_1m=round(generator.random(), 2),
            load_5m=round(generator.random(), 2),
            load_15m=round(generator.random(), 2),
            uptime_seconds=generator.randrange(10**7),
            clock_skew_seconds=generator.random() / 10,
        )
        for number in range(333)
    ]
    mounts = [
        FileSystemUsage(
            number,
            7,
            HOUR,
            f"/data/{mount}",
            f"/dev/sda{mount}",
            "ext4",
            total_bytes=2**37,
            used_bytes=generator.randrange(2**37) // 1024 * 1024,
            available_bytes=generator.randrange(2**37) // 1024 * 1024,
            inodes_total=10**6,
            inodes_used=generator.randrange(10**6),
        )
        for number in range(33)
        for mount in range(4)
    ]
    size = len(encode_record(Batch(rows, [], mounts)))
    assert size / 333 < 100
    assert 2**30 / (size / 333 * 333) > 8 * 3600


def test_files_are_private(tmp_path):
    """Would let back: samples and host names that every account of the machine can read."""
    spool = opened(tmp_path / "spool")
    spool.append(batch_of(1))
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "spool").rglob("*")}
    assert modes == {0o700, 0o600}
    assert (tmp_path / "spool").stat().st_mode & 0o777 == 0o700


# A disk that refuses


@pytest.fixture
def small_files():
    """Files of this process cannot grow beyond 4 KB: write() fails as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    def limit(size=4096):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))

    yield limit
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def test_a_disk_that_refuses_leaves_batches_in_memory(tmp_path, small_files, caplog):
    """Would let back: a full disk that ends collection, tears a record, or fills the log."""
    spool = opened(tmp_path)
    small_files()
    for number in range(60):
        spool.append(batch_of(number))
    small_files(resource.RLIM_INFINITY)
    assert spool.memory_samples > 0
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "samples stay in memory" in caplog.text
    spool.append(batch_of(60))
    assert drained(spool) == list(range(61))
    assert spool.damaged_bytes == 0
    assert spool.lost_samples == 0
    spool.close()


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 256 KB, which only root may mount."""
    folder = tmp_path / "disk"
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", "size=256k,mode=700", "tmpfs", str(folder)]
    mounted = subprocess.run(["mount", *options], capture_output=True, check=False)
    if mounted.returncode != 0:
        pytest.skip("mounting a small tmpfs needs root and CAP_SYS_ADMIN")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_keeps_the_order_and_what_was_written(small_disk, monkeypatch):
    """Would let back: a torn record, or newer samples before older ones, around ENOSPC."""
    monkeypatch.setattr(spool_module, "DISK_RETRY_SECONDS", 0.0)
    spool = opened(small_disk / "spool")
    filler = small_disk / "filler"
    filler.write_bytes(bytes(225_280))
    for number in range(300):
        spool.append(batch_of(number))
    assert spool.memory_samples > 0, "the disk is full"
    on_disk = read_state(small_disk / "spool").samples
    assert on_disk + spool.memory_samples == 300
    filler.unlink()
    spool.append(batch_of(300))
    assert spool.memory_samples == 0
    spool.close()
    heir = opened(small_disk / "spool")
    heir.adopt()
    assert drained(heir) == list(range(301))
    assert heir.damaged_bytes == 0
    heir.close()


def test_memory_is_bounded_and_the_loss_is_counted(tmp_path, monkeypatch, caplog):
    """Would let back: a collector that grows without bound on a machine without disk."""
    monkeypatch.setattr(spool_module, "MEMORY_ROWS", 10)
    (tmp_path / "spool").write_text("a file where the folder should be")
    spool = opened(tmp_path / "spool")
    for number in range(25):
        spool.append(batch_of(number))
    assert spool.lost_samples == 15
    assert drained(spool) == list(range(15, 25))
    assert len(caplog.records) == 2, "one line for the disk, one for the loss"


def test_memory_goes_to_disk_when_the_disk_is_back(tmp_path, monkeypatch):
    """Would let back: samples in memory only, an hour after somebody made room."""
    monkeypatch.setattr(spool_module, "DISK_RETRY_SECONDS", 0.0)
    root = tmp_path / "spool"
    root.write_text("a file where the folder should be")
    spool = opened(root)
    spool.append(batch_of(1))
    assert spool.memory_samples == 1
    root.unlink()
    spool.append(batch_of(2))
    assert spool.memory_samples == 0
    assert read_state(root).samples == 2
    assert drained(spool) == [1, 2]


def test_without_a_folder_everything_is_lost_with_the_collector(tmp_path):
    """Would let back: an end that says nothing of what it drops."""
    spool = opened(None)
    spool.append(batch_of(1, 2, 3))
    assert spool.close() == 3
    assert spool.lost_samples == 3


# Adoption


def test_what_a_dead_collector_left_goes_first(tmp_path):
    """Would let back: a dead collector's samples forgotten, or written after newer ones."""
    dead = opened(tmp_path)
    for number in (1, 2):
        dead.append(batch_of(number))
    dead.close()
    heir = opened(tmp_path, hour=HOUR + timedelta(hours=1))
    heir.append(batch_of(3))
    assert heir.adopt() == 1
    assert heir.adopt() == 0
    assert drained(heir) == [1, 2, 3]
    heir.close()
    assert list(tmp_path.iterdir()) == []


def test_the_folder_of_a_living_collector_is_left_alone(tmp_path):
    """Would let back: files pulled from under a collector that writes them."""
    living = opened(tmp_path)
    living.append(batch_of(1))
    other = opened(tmp_path, hour=HOUR + timedelta(hours=1))
    assert other.adopt() == 0
    assert other.has_live_predecessor()
    assert not living.has_live_predecessor()
    assert drained(living) == [1]
    living.close()
    assert not other.has_live_predecessor()


def test_collectors_of_other_shards_do_not_touch_each_other(tmp_path):
    """Would let back: coverage of a shard written by two."""
    dead = opened(tmp_path, shards=(1,), shard_count=2)
    dead.append(batch_of(1))
    dead.close()
    other = opened(tmp_path, shards=(0,), shard_count=2)
    assert other.adopt() == 0
    same = opened(tmp_path, shards=(1,), shard_count=2)
    assert not same.has_live_predecessor()
    assert same.adopt() == 1


def test_leftovers_of_a_shard_that_is_no_more_are_adopted_by_shard_0(tmp_path):
    """Would let back: samples that nobody reads again after RESMON_COLLECT_SHARDS went down."""
    dead = opened(tmp_path, shards=(3,), shard_count=4)
    dead.append(batch_of(1))
    dead.close()
    assert opened(tmp_path, shards=(1,), shard_count=2).adopt() == 0
    heir = opened(tmp_path, shards=(0,), shard_count=2)
    assert heir.adopt() == 1
    assert drained(heir) == [1]


def test_samples_for_another_database_stay_where_they_are(tmp_path):
    """Would let back: servers of one database mixed into another after a change of its URL."""
    dead = opened(tmp_path, database="old:5432/resmon")
    dead.append(batch_of(1))
    dead.close()
    assert opened(tmp_path, database="new:5432/resmon").adopt() == 0
    assert opened(tmp_path, database="old:5432/resmon").adopt() == 1


def test_a_folder_without_a_readable_owner_is_adopted(tmp_path):
    """Would let back: samples stuck for ever because a power loss emptied one small file."""
    dead = opened(tmp_path)
    dead.append(batch_of(1))
    dead.close()
    (owner,) = tmp_path.rglob("owner")
    owner.write_bytes(b"")
    heir = opened(tmp_path)
    assert heir.adopt() == 1
    assert drained(heir) == [1]


def test_a_damaged_file_is_kept_aside_and_the_next_one_is_read(tmp_path, caplog):
    """Would let back: one bad sector that ends recovery, or bytes thrown away unseen."""
    dead = opened(tmp_path, limit_bytes=8 * 900)
    for number in range(12):
        dead.append(batch_of(number))
    dead.close()
    first = segments(tmp_path)[0]
    content = bytearray(first.read_bytes())
    content[len(SEGMENT_HEADER) + HEADER_BYTES + 3] ^= 0xFF
    first.write_bytes(content)
    heir = opened(tmp_path)
    heir.adopt()
    found = drained(heir)
    assert found == list(range(12 - len(found), 12))
    assert 0 < len(found) < 12
    assert heir.damaged_bytes > 0
    assert "its checksum or content is wrong" in caplog.text
    (aside,) = (tmp_path / "damaged").iterdir()
    assert aside.read_bytes() == bytes(content)


# What is shown


def test_state_of_a_missing_or_closed_folder_is_empty(tmp_path):
    """Would let back: `resmon status` that fails where nothing was ever spooled."""
    state = read_state(tmp_path / "nothing")
    assert (state.samples, state.size_bytes, state.oldest_at, state.losses) == (0, 0, None, ())
    assert state.refused_rows == 0


def test_refused_rows_are_kept_with_the_reason(tmp_path, caplog):
    """Would let back: a row that vanishes because one value of it was wrong."""
    rows = RefusedRows(tmp_path)
    rows.keep([(sample(1), ValueError("no\nNUL")), (sample(2), ValueError("other"))], now=HOUR)
    lines = (tmp_path / "refused.jsonl").read_text().splitlines()
    assert len(lines) == read_state(tmp_path).refused_rows == 2
    assert '"reason": "no NUL"' in lines[0]
    assert '"server_id": 1' in lines[0]
    assert len(caplog.records) == 1
    assert Path(tmp_path / "refused.jsonl").stat().st_mode & 0o777 == 0o600
