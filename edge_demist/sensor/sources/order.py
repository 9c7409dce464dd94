"""Which file to read next, and which known file a new one could be: both without looking at all of them each time."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping

from edge_demist.sensor.sources.checkpoint import FileState
from edge_demist.sensor.sources.lines import FileId
from edge_demist.sensor.sources.log_file import LogFile


class ReadingOrder:
    """Files that have something to read, the one furthest behind in log time first."""

    def __init__(self) -> None:
        """Start with no file."""
        self._heap: list[tuple[int, str, FileId]] = []
        self._queued: set[FileId] = set()

    def __len__(self) -> int:
        """Files that are queued."""
        return len(self._queued)

    def wake(self, source: LogFile) -> None:
        """Queue a file, if there is something to read; again after it was read, for its log time has moved."""
        if source.file_id not in self._queued and not source.drained:
            self._queued.add(source.file_id)
            heapq.heappush(self._heap, (source.state.clock_us, source.state.path, source.file_id))

    def take(self, sources: Mapping[FileId, LogFile], *, may_open: bool = True) -> LogFile | None:
        """The next file, out of those that are still there; None when all are read.

        Where no more ``may_open``, an open one goes before those that are not, so that of many files few are open at a time.
        """
        passed: list[tuple[int, str, FileId]] = []
        found: LogFile | None = None
        while self._heap and found is None:
            entry = heapq.heappop(self._heap)
            source = sources.get(entry[2])
            if source is None or source.drained:
                self._queued.discard(entry[2])
            elif may_open or source.is_open:
                found = source
            else:
                passed.append(entry)
        if found is None and passed:
            found = sources[passed.pop(0)[2]]
        for entry in passed:
            heapq.heappush(self._heap, entry)
        if found is not None:
            self._queued.discard(found.file_id)
        return found


class KnownFiles:
    """What is known, by the hash of its first record, during one look."""

    def __init__(self) -> None:
        """Start empty."""
        self._files: dict[str, list[tuple[FileId | None, FileState]]] = {}

    def fill(self, standing: Iterable[FileState], gone: Iterable[FileState]) -> None:
        """Begin a look: files under their inode, and those whose inode is another's by now."""
        self._files.clear()
        for state in standing:
            self.add(state, (state.device, state.inode))
        for state in gone:
            self.add(state, None)

    def add(self, state: FileState, file_id: FileId | None) -> None:
        """One more."""
        self._files.setdefault(state.fingerprint, []).append((file_id, state))

    def remove(self, state: FileState) -> None:
        """It goes by another inode now."""
        known = self._files.get(state.fingerprint, [])
        known[:] = [entry for entry in known if entry[1] is not state]

    def same(self, fingerprint: str, intact: set[FileId]) -> tuple[list[FileState], list[FileState]]:
        """The files with this first record that stand, and those that are gone."""
        known = self._files.get(fingerprint, [])
        return [s for i, s in known if i in intact], [s for i, s in known if i not in intact]

    def clear(self) -> None:
        """End the look."""
        self._files.clear()
