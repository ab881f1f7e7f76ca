"""Cut, flipped, zeroed and foreign bytes in the files of a queue: never an error, never a wrong block, honest counts."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.spool.segment import FRAME_BYTES, SEGMENT_BYTES
from tests.spooling import FOLDER, Spooling, block, drained, number_of

BLOCKS = 12
Harm = tuple[str, float, int, bytes]
"""(what, where as a share of the file, how many bytes, new bytes)."""
harms = st.tuples(
    st.sampled_from(["cut", "zero", "flip", "insert", "remove"]),
    st.floats(0, 1, exclude_max=True),
    st.integers(1, 200),
    st.binary(min_size=1, max_size=80),
)


def filled(sizes: list[int]) -> Spooling:
    """A stopped queue with a block of each size; its samples are its place, from 1."""
    spooling = Spooling()
    for place, size in enumerate(sizes):
        spooling.queue.put(block(place, size, place + 1))
    spooling.queue.close()
    return spooling


def with_a_cursor(sizes: list[int]) -> Spooling:
    """The same, but the first block was accepted after it had been written."""
    spooling = Spooling()
    for place, size in enumerate(sizes):
        spooling.queue.put(block(place, size, place + 1))
    spooling.pass_time(2)
    entry = spooling.queue.take()
    assert entry is not None
    spooling.queue.ack(entry.sequence)
    spooling.queue.close()
    return spooling


def harmed(data: bytes, harm: Harm) -> bytes:
    what, share, length, new = harm
    at = int(share * len(data))
    if what == "cut":
        return data[:at]
    if what == "zero":
        return data[:at] + bytes(min(length, len(data) - at)) + data[at + length :]
    if what == "flip":
        return data[:at] + bytes([data[at] ^ (1 << length % 8)]) + data[at + 1 :] if data else data
    return data[:at] + new + data[at:] if what == "insert" else data[:at] + data[at + length :]


def rewrite(spooling: Spooling, path: Path, data: bytes) -> None:
    inode = spooling.disk.now[path]
    inode.data, inode.safe = bytearray(data), bytes(data)


def segments(spooling: Spooling) -> list[Path]:
    return sorted(path for path in spooling.disk.now if path.suffix == ".seg")


@given(st.lists(st.integers(0, 300), min_size=1, max_size=BLOCKS), st.lists(harms, min_size=1, max_size=3))
@settings(max_examples=300, deadline=None)
def test_what_comes_out_of_a_damaged_segment_is_what_went_in(sizes: list[int], script: list[Harm]) -> None:
    spooling = filled(sizes)
    path = segments(spooling)[0]
    data = bytes(spooling.disk.now[path].data)
    for harm in script:
        data = harmed(data, harm)
    rewrite(spooling, path, data)

    spooling.queue = spooling.opened()
    found = drained(spooling.queue)

    numbers = [number_of(one) for one in found]
    assert numbers == sorted(set(numbers))
    assert [one.payload for one in found] == [block(number, sizes[number]).payload for number in numbers]
    assert [one.samples for one in found] == [number + 1 for number in numbers]
    missing = len(sizes) * (len(sizes) + 1) // 2 - sum(one.samples for one in found)
    assert spooling.queue.losses().get("corrupt", 0) <= missing


@given(st.lists(st.integers(0, 300), min_size=2, max_size=BLOCKS), st.lists(harms, min_size=1, max_size=3))
@settings(max_examples=200, deadline=None)
def test_a_damaged_cursor_loses_nothing(sizes: list[int], script: list[Harm]) -> None:
    spooling = with_a_cursor(sizes)
    data = bytes(spooling.disk.now[FOLDER / "cursor"].data)
    for harm in script:
        data = harmed(data, harm)
    rewrite(spooling, FOLDER / "cursor", data)

    spooling.queue = spooling.opened()
    numbers = [number_of(one) for one in drained(spooling.queue)]

    assert numbers in (list(range(len(sizes))), list(range(1, len(sizes))))


def test_a_whole_cursor_tells_what_was_accepted() -> None:
    spooling = with_a_cursor([10, 20, 30])

    spooling.queue = spooling.opened()

    assert [number_of(one) for one in drained(spooling.queue)] == [1, 2]


@given(st.lists(st.integers(0, 300), min_size=2, max_size=BLOCKS), harms)
@settings(max_examples=300, deadline=None)
def test_samples_lost_in_front_of_a_whole_frame_are_counted(sizes: list[int], harm: Harm) -> None:
    spooling = filled(sizes)
    path = segments(spooling)[0]
    data = bytes(spooling.disk.now[path].data)
    last_frame = FRAME_BYTES + len(block(len(sizes) - 1, sizes[-1]).payload)
    what, share, length, new = harm
    front = data[:-last_frame]
    harm = ("zero" if what == "cut" else what, share, length, new)
    rewrite(spooling, path, harmed(front, harm) + data[-last_frame:])

    spooling.queue = spooling.opened()
    found = drained(spooling.queue)

    total = len(sizes) * (len(sizes) + 1) // 2
    assert spooling.queue.losses().get("corrupt", 0) == total - sum(one.samples for one in found)


def test_a_loss_is_counted_once_and_not_at_every_start() -> None:
    spooling = filled([100] * 4)
    path = segments(spooling)[0]
    data = bytearray(spooling.disk.now[path].data)
    data[SEGMENT_BYTES + FRAME_BYTES + 50] ^= 1
    data[SEGMENT_BYTES + 10] ^= 1
    rewrite(spooling, path, bytes(data))

    lost = []
    for _ in range(3):
        spooling.queue = spooling.opened()
        lost.append(dict(spooling.queue.losses()))
        spooling.queue.close()

    assert lost == [{"corrupt": 1}, {}, {}]


def test_a_foreign_file_in_the_folder_is_left_alone() -> None:
    spooling = filled([10])
    foreign = FOLDER / "notes.seg"
    handle = spooling.disk.create(foreign)
    spooling.disk.append(handle, b"mine")

    spooling.queue = spooling.opened()

    assert len(drained(spooling.queue)) == 1
    spooling.queue.close()
    assert foreign in spooling.disk.now


@given(st.binary(max_size=400))
def test_foreign_bytes_in_place_of_a_segment_are_no_blocks(data: bytes) -> None:
    spooling = filled([10])
    rewrite(spooling, segments(spooling)[0], data)

    spooling.queue = spooling.opened()

    assert drained(spooling.queue) == []
