"""A file system in memory that forgets, when the power is cut, what was not synced; it may also be full or refuse.

After a cut each file holds what was synced, perhaps more of what was written after that, perhaps zeros in its place;
each name that was made, moved or removed without a sync of its folder is as before or as after, by chance.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from errno import EIO, ENOSPC
from pathlib import Path
from random import Random

from agent.spool.files import Space

TOTAL_BYTES = 1 << 40


@dataclass(eq=False)
class Inode:
    """One file."""

    data: bytearray = field(default_factory=bytearray)
    safe: bytes = b""
    """What a power cut leaves for sure."""


class FakeDisk:
    """The files below one folder. Implements `agent.spool.files.Files`."""

    def __init__(self) -> None:
        self.now: dict[Path, Inode] = {}
        self.safe: dict[Path, Inode] = {}
        """The names that a power cut leaves for sure."""
        self.free = TOTAL_BYTES
        self.refusal: int | None = None
        """The errno of everything that changes the disk, while it is set."""
        self.operations = 0
        self.cut_at: int | None = None
        """The power goes just before the operation of this number; nothing is done from then on."""
        self._handles: dict[int, Inode] = {}

    @property
    def dead(self) -> bool:
        """Whether the power is gone."""
        return self.cut_at is not None and self.operations >= self.cut_at

    def power_up(self, random: Random) -> None:
        """The disk as the next life finds it."""
        for path in {*list(self.now), *list(self.safe)}:
            chosen = random.choice((self.now.get(path), self.safe.get(path)))
            if chosen is None:
                self.now.pop(path, None)
            else:
                self.now[path] = chosen
        for inode in self.now.values():
            inode.data = bytearray(self._survived(inode, random))
            inode.safe = bytes(inode.data)
        self.safe = dict(self.now)
        self.cut_at = self.refusal = None
        self._handles.clear()

    def _survived(self, inode: Inode, random: Random) -> bytes:
        unsafe = bytes(inode.data[len(inode.safe) :])
        kept = unsafe[: random.randint(0, len(unsafe))]
        zeros = bytes(random.randint(0, len(unsafe) - len(kept))) if random.random() < 0.5 else b""
        return inode.safe + kept + zeros

    def _change(self) -> None:
        self.operations += 1
        if self.dead:
            raise OSError(EIO, "the power is gone")
        if self.refusal is not None:
            raise OSError(self.refusal, "refused")

    def _found(self, path: Path) -> Inode:
        if path not in self.now:
            raise FileNotFoundError(path)
        return self.now[path]

    def names(self, folder: Path) -> list[str]:
        """The names in a folder."""
        return [path.name for path in list(self.now) if path.parent == folder]

    def size(self, path: Path) -> int:
        """Bytes of a file."""
        return len(self._found(path).data)

    def read(self, path: Path, offset: int, size: int) -> bytes:
        """Bytes from `offset`."""
        return bytes(self._found(path).data[offset : offset + size])

    def create(self, path: Path) -> int:
        """A new, empty file."""
        self._change()
        inode = self.now[path] = Inode()
        self._handles[self.operations] = inode
        return self.operations

    def append(self, handle: int, data: bytes) -> None:
        """Write at the end; what no longer fits is left out, as a real disk does it."""
        self._change()
        fits = data[: self.free]
        self._handles[handle].data += fits
        self.free -= len(fits)
        if len(fits) < len(data):
            raise OSError(ENOSPC, "no space left on device")

    def truncate(self, handle: int, size: int) -> None:
        """Cut the file."""
        self._change()
        inode = self._handles[handle]
        del inode.data[size:]
        inode.safe = inode.safe[:size]

    def fsync(self, handle: int) -> None:
        """The file's bytes are safe."""
        self._change()
        self._handles[handle].safe = bytes(self._handles[handle].data)

    def close(self, handle: int) -> None:
        """The handle is not used any more."""
        self._handles.pop(handle, None)

    def rename(self, old: Path, new: Path) -> None:
        """Replace in one step."""
        self._change()
        self.now[new] = self.now.pop(old)

    def unlink(self, path: Path) -> None:
        """Remove a file."""
        self._change()
        gone = self.now.pop(path, None)
        self.free += len(gone.data) if gone is not None else 0

    def sync_folder(self, folder: Path) -> None:
        """The names are safe."""
        self._change()
        self.safe = dict(self.now)

    def space(self, folder: Path) -> Space:
        """What is left."""
        return Space(self.free, TOTAL_BYTES)
