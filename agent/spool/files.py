"""What a queue asks of a file system; the one place that touches it, so that a test can take it away."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple, Protocol


class Space(NamedTuple):
    """Bytes of a file system."""

    free: int
    """What an ordinary process may still use."""
    total: int


class Files(Protocol):
    """A file system. Every method may raise OSError; a handle belongs to one thread at a time."""

    def names(self, folder: Path) -> list[str]:
        """The names in a folder, in any order."""
        ...

    def size(self, path: Path) -> int:
        """Bytes of a file."""
        ...

    def read(self, path: Path, offset: int, size: int) -> bytes:
        """Up to `size` bytes from `offset`; fewer only at the end of the file."""
        ...

    def create(self, path: Path) -> int:
        """A handle on a new, empty file, which replaces one of that name."""
        ...

    def append(self, handle: int, data: bytes) -> None:
        """Write all of `data` at the end."""
        ...

    def truncate(self, handle: int, size: int) -> None:
        """Cut the file."""
        ...

    def fsync(self, handle: int) -> None:
        """Return when the file's bytes are safe from a power cut."""
        ...

    def close(self, handle: int) -> None:
        """The handle is not used any more."""
        ...

    def rename(self, old: Path, new: Path) -> None:
        """Give a file another name, replacing what had it, in one step."""
        ...

    def unlink(self, path: Path) -> None:
        """Remove a file; one that is not there is fine."""
        ...

    def sync_folder(self, folder: Path) -> None:
        """Return when the folder's names are safe from a power cut."""
        ...

    def space(self, folder: Path) -> Space:
        """Of the file system the folder is on."""
        ...


class RealFiles:
    """The file system of this machine."""

    def names(self, folder: Path) -> list[str]:
        """The names in a folder."""
        return os.listdir(folder)

    def size(self, path: Path) -> int:
        """Bytes of a file."""
        return os.stat(path).st_size

    def read(self, path: Path, offset: int, size: int) -> bytes:
        """Bytes from `offset`."""
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            data = os.pread(handle, size, offset)
            while 0 < len(data) < size and (more := os.pread(handle, size - len(data), offset + len(data))):
                data += more
            return data
        finally:
            os.close(handle)

    def create(self, path: Path) -> int:
        """A new, empty file."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o640)

    def append(self, handle: int, data: bytes) -> None:
        """Write all of `data`."""
        view = memoryview(data)
        while view:
            view = view[os.write(handle, view) :]

    def truncate(self, handle: int, size: int) -> None:
        """Cut the file."""
        os.ftruncate(handle, size)

    def fsync(self, handle: int) -> None:
        """Wait for the disk."""
        os.fsync(handle)

    def close(self, handle: int) -> None:
        """Give the handle back."""
        os.close(handle)

    def rename(self, old: Path, new: Path) -> None:
        """Replace in one step."""
        os.replace(old, new)

    def unlink(self, path: Path) -> None:
        """Remove a file."""
        path.unlink(missing_ok=True)

    def sync_folder(self, folder: Path) -> None:
        """Wait for the disk."""
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def space(self, folder: Path) -> Space:
        """What statvfs tells."""
        found = os.statvfs(folder)
        return Space(found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize)
