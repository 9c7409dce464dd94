"""Which log files there are, through growth, rotation, compression and copy-and-truncate, across restarts.

A file is known by device and inode while it stands, and by the hash of its first record when it turns up elsewhere. Both are
volatile: between a look and the opening a name may come to stand for another file, and the inode of a deleted file is soon another's.
So every opening checks what it has got.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from edge_demist.sensor.counters import Counters
from edge_demist.sensor.sources.checkpoint import Checkpoint, FileState
from edge_demist.sensor.sources.discover import Discovery, Found, discover, is_copy_of, is_related, is_rotation_of
from edge_demist.sensor.sources.lines import MAX_LINE_BYTES, FileId, Moved
from edge_demist.sensor.sources.log_file import Descriptors, Fingerprint, LogFile, free_descriptors, hash_start, read_fingerprint
from edge_demist.sensor.sources.order import KnownFiles, ReadingOrder
from edge_demist.sensor.sources.pipe import PipeFile, is_pipe

MAX_OPEN = 200
MAX_GONE = 4096
MAX_OCCURRENCES = 20_000
IDLE_CLOSE_S = 300.0
GZIP_SETTLE_S = 30.0
_Notify = Callable[[str, dict[str, object]], None]


def _file_id(state: FileState) -> FileId:
    return state.device, state.inode


class Scanner:
    """All files that are being read or were; looks for new, renamed and vanished ones."""

    def __init__(
        self,
        paths: Sequence[Path],
        counters: Counters,
        *,
        once: bool = False,
        exclude: Iterable[Path] = (),
        checkpoint: Checkpoint | None = None,
        max_line_bytes: int = MAX_LINE_BYTES,
        notify: _Notify = lambda _event, _facts: None,
        breathe: Callable[[], None] = lambda: None,
    ) -> None:
        """Take over where a checkpoint left off.

        ``breathe`` is called between the files of a look and may raise to end it: a folder may hold very many.
        """
        pipes = list(dict.fromkeys(path for path in paths if is_pipe(path)))
        self._paths, self._counters, self._once = [path for path in paths if path not in pipes], counters, once
        self._exclude, self._max_line_bytes, self._notify = list(exclude), max_line_bytes, notify
        checkpoint = checkpoint or Checkpoint()
        self._resumed = bool(checkpoint.active or checkpoint.finished)
        self._since_ns = max((f.mtime_ns for f in checkpoint.active + checkpoint.finished), default=0)
        self._breathe, self._descriptors = breathe, Descriptors(min(MAX_OPEN, free_descriptors()))
        self._order, self._known = ReadingOrder(), KnownFiles()
        self._last_read: LogFile | None = None
        self._poll_after = 0.0
        self.sources: dict[FileId, LogFile] = {_file_id(f): self._source(f) for f in checkpoint.active}
        for number, path in enumerate(pipes):
            self.sources[-1, number] = PipeFile(path, number, counters.open(str(path), used=True), max_line_bytes, follow=not once)
        self.finished: dict[FileId, FileState] = {}
        self._gone: list[FileState] = []
        for state in checkpoint.finished:
            if _file_id(state) in self.sources or self.finished.setdefault(_file_id(state), state) is not state:
                self._gone.append(state)
        self._occurrences = dict(checkpoint.occurrences)
        self._returning: list[FileState] = []
        self._old: set[FileId] | None = None
        self._heads: dict[FileId, tuple[int, int, Fingerprint]] = {}
        self._active_since: dict[FileId, float] = {}
        self._told: set[str] = set()
        self.problems: dict[str, str] = {}
        self.ignored: list[str] = []
        self.finished_changed = False

    def _source(self, state: FileState) -> LogFile:
        return LogFile(state, self._counters.open(state.path, used=True), self._max_line_bytes, self._descriptors)

    # --- looking for files -------------------------------------------------------------------------------------

    def scan(self) -> None:
        """Look at all paths: new, renamed, truncated and vanished files."""
        found = discover(self._paths, self._exclude, siblings=not self._once or self._resumed, breathe=self._breathe)
        self._tell_problems(found)
        self.ignored = found.ignored
        intact = self._check_known(found)
        first_look = self._old is None
        if self._old is None:
            self._old = set()
        unknown = [f for file_id, f in found.files.items() if file_id not in intact and file_id not in self._old]
        if unknown:
            self._known.fill([*(x.state for x in self.sources.values()), *self.finished.values()], self._gone)
        for item in sorted(unknown, key=lambda f: (f.info.st_mtime_ns, str(f.path))):
            self._breathe()
            self._classify_new_file(item, intact, first_look)
        self._known.clear()
        self._note_vanished(found, intact)
        for source in self.sources.values():
            self._order.wake(source)
        self._heads = {k: v for k, v in self._heads.items() if k in found.files}

    def _tell_problems(self, found: Discovery) -> None:
        for path, why in found.problems.items():
            if path not in self._told:
                self._told.add(path)
                self._notify("cannot-read", {"path": path, "error": why})
                self._counters.open(path).error(why)
        self._told &= set(found.problems) | set(self.problems)

    def _check_known(self, found: Discovery) -> set[FileId]:
        """The known files that are still what they were; a truncated or overwritten one becomes unknown."""
        intact: set[FileId] = set()
        for file_id, item in found.files.items():
            self._breathe()
            if file_id in self.sources:
                if self._still_same(self.sources[file_id], item):
                    intact.add(file_id)
                else:
                    self._retire(file_id, "truncated")
            elif file_id in self.finished and self._reopen_finished(file_id, item):
                intact.add(file_id)
        return intact

    def _still_same(self, source: LogFile, item: Found) -> bool:
        if source.is_open:
            if not source.poll_growth():
                return False
        elif source.at_end and not source.failed and (source.state.size, source.state.mtime_ns) == _version(item):
            source.state.path, source.present = str(item.path), True
            return True
        else:
            same = self._same_start(source.state, item)
            if same is None:
                return True
            if not same:
                return False
        if source.state.path != str(item.path):
            self._notify("renamed", {"from": source.state.path, "to": str(item.path)})
            source.state.path = str(item.path)
        source.present = True
        if source.failed:
            source.at_end = False
        if not source.is_open:
            source.state.size, source.state.mtime_ns = item.info.st_size, item.info.st_mtime_ns
            source.at_end = False
            self._open(source)
        return True

    def _reopen_finished(self, file_id: FileId, item: Found) -> bool:
        state = self.finished[file_id]
        if (state.size, state.mtime_ns) == _version(item):
            state.path = str(item.path)
            return True
        same = self._same_start(state, item)
        if same is None:
            return True
        del self.finished[file_id]
        self.finished_changed = True
        if not same:
            self._remember_gone(state)
            return False
        self._adopt(state, item)
        return True

    def _same_start(self, state: FileState, item: Found) -> bool | None:
        """Whether a file on disk still begins with the record it is known by and was not cut behind our place.

        None: it cannot be told now, for it was renamed meanwhile or cannot be read; the next look will.
        """
        try:
            fingerprint, translated = hash_start(item.path, state.head_bytes, item.file_id)
        except OSError as error:
            self._problem(item.path, error)
            return None
        return fingerprint == state.fingerprint and (translated or item.info.st_size >= state.offset)

    def _head(self, item: Found) -> Fingerprint | None:
        known = self._heads.get(item.file_id)
        if known and known[:2] == (item.info.st_size, item.info.st_mtime_ns):
            return known[2]
        try:
            head = read_fingerprint(item.path, item.file_id)
        except OSError as error:
            self._problem(item.path, error)
            return None
        self.problems.pop(str(item.path), None)
        self._heads[item.file_id] = (item.info.st_size, item.info.st_mtime_ns, head)
        return head

    def _problem(self, path: Path, error: OSError) -> None:
        if isinstance(error, Moved) and not self._once:
            return
        why = self.problems[str(path)] = error.strerror or str(error)
        if str(path) not in self._told:
            self._told.add(str(path))
            self._counters.open(str(path)).error(why)
            self._notify("cannot-read", {"path": str(path), "error": why})

    # --- new files ---------------------------------------------------------------------------------------------

    def _classify_new_file(self, item: Found, intact: set[FileId], first_look: bool) -> None:
        """Decide what an unknown file is: new, a continuation of a known one, a copy in the making, or old."""
        assert self._old is not None
        if item.file_id in self._old:
            return
        head = self._head(item)
        if head is None:
            return
        standing, gone = self._known.same(head.fingerprint, intact)
        successor = next((t for t in gone if _is_again(item, t)), None) or next(
            (t for t in gone if is_rotation_of(item.path.name, Path(t.path).name) or is_related(item.path, Path(t.path))), None
        )
        if item.sibling_of is not None and first_look and successor is None and not self._rotated_while_down(item):
            self._old.add(item.file_id)
            return
        if not self._once and (not head.complete or self._is_being_compressed(item, head)):
            return
        if successor is not None:
            self._inherit(successor, item)
        elif not self._once and any(is_copy_of(item.path, Path(t.path)) for t in standing):
            return
        else:
            self._begin(head, item)
        intact.add(item.file_id)

    def _rotated_while_down(self, item: Found) -> bool:
        return self._resumed and item.info.st_mtime_ns > self._since_ns

    def _inherit(self, successor: FileState, item: Found) -> None:
        """Continue a vanished file in its compressed, copied or moved form."""
        self._notify("continues", {"path": str(item.path), "as": successor.path, "offset": successor.offset})
        old_id = _file_id(successor)
        if old_id in self.sources and self.sources[old_id].state is successor:
            source = self.sources.pop(old_id)
            successor = source.snapshot()
            self._close(source)
        if self.finished.get(old_id) is successor:
            del self.finished[old_id]
        self._gone = [g for g in self._gone if g is not successor]
        self._known.remove(successor)
        self.finished_changed = True
        self._adopt(successor, item)

    def _is_being_compressed(self, item: Found, head: Fingerprint) -> bool:
        """Whether the plain form still stands beside a compressed one, even if this look has missed it."""
        try:
            return item.path.suffix == ".gz" and read_fingerprint(item.path.with_suffix("")).fingerprint == head.fingerprint
        except OSError:
            return False

    def _begin(self, head: Fingerprint, item: Found) -> None:
        occurrence = self._occurrences.pop(head.fingerprint, -1) + 1
        self._occurrences[head.fingerprint] = occurrence
        while len(self._occurrences) > MAX_OCCURRENCES:
            del self._occurrences[next(iter(self._occurrences))]
        self.finished_changed = True
        state = FileState(str(item.path), *item.file_id, head.fingerprint, head.size, occurrence)
        state.clock_us = head.clock_us or item.info.st_mtime_ns // 1000
        self._adopt(state, item)

    def _adopt(self, state: FileState, item: Found) -> None:
        self._returning.append(state)
        state.path, (state.device, state.inode) = str(item.path), item.file_id
        state.size, state.mtime_ns = item.info.st_size, item.info.st_mtime_ns
        source = self._source(state)
        self.sources[item.file_id] = source
        self._known.add(state, item.file_id)
        self._open(source)

    def _open(self, source: LogFile) -> None:
        """Hold a descriptor while following, so that a deleted file can still be read to its end."""
        if self._once or self._descriptors.all_taken:
            return
        try:
            source.open()
        except OSError as error:
            self._problem(source.path, error)

    # --- files that end ----------------------------------------------------------------------------------------

    def _note_vanished(self, found: Discovery, intact: set[FileId]) -> None:
        for file_id in [i for i, s in self.sources.items() if i not in found.files and not s.transient]:
            source = self.sources[file_id]
            source.present = False
            if not source.is_open:
                self._retire(file_id, "vanished")
            elif source.drained and not source.final:
                source.poll_growth()
        for file_id in [i for i in self.finished if i not in found.files and i not in intact]:
            self._remember_gone(self.finished.pop(file_id))
            self.finished_changed = True

    def _retire(self, file_id: FileId, why: str) -> None:
        source = self.sources.pop(file_id)
        lost = source.lag_bytes if why == "vanished" else 0
        self._notify(why, {"path": source.state.path, "offset": source.state.offset, "unread_bytes": lost})
        self._remember_gone(source.snapshot())
        self._close(source)

    def _close(self, source: LogFile) -> None:
        source.close()
        self._counters.close(source.counts)

    def _remember_gone(self, state: FileState) -> None:
        self._gone.append(state)
        del self._gone[:-MAX_GONE]
        self.finished_changed = True

    def close_finished(self) -> None:
        """Close what is read to its end: in one run all of it, else vanished, compressed and long idle files."""
        now = time.monotonic()
        for file_id, source in list(self.sources.items()):
            if source.waiting:
                continue
            if not source.drained:
                self._active_since[file_id] = now
                continue
            if source.failed and not self._once:
                continue  # what could not be read is not read to its end
            idle = now - self._active_since.setdefault(file_id, now)
            over = self._once or source.transient or not source.present or self._is_over(source, idle)
            if over and not source.final:
                source.finalize()
                self._order.wake(source)
            elif over:
                self._finish(file_id, source)

    def _is_over(self, source: LogFile, idle: float) -> bool:
        if source.compressed:
            return source.final or not source.incomplete or idle >= GZIP_SETTLE_S
        crowded = self._descriptors.all_taken
        return (idle >= IDLE_CLOSE_S and source.path not in self._paths) or (crowded and idle > 1.0)

    def _finish(self, file_id: FileId, source: LogFile) -> None:
        if problem := source.problem or ("row-left-open" if source.parser.is_within_row else ""):
            source.counts.error(problem)
            self._notify("damaged", {"path": source.state.path, "error": problem, "offset": source.state.offset})
        state = source.snapshot()
        self._close(source)
        del self.sources[file_id]
        self._active_since.pop(file_id, None)
        self.finished_changed = True
        if source.transient:
            return
        if source.present:
            state.parser = {}
            self.finished[file_id] = state
        else:
            self._remember_gone(state)


def _version(item: Found) -> tuple[int, int]:
    return item.info.st_size, item.info.st_mtime_ns


def _is_again(item: Found, state: FileState) -> bool:
    """Whether a vanished file has come back: the same name and inode, and no shorter than what was read of it."""
    same = item.path.name == Path(state.path).name and item.info.st_ino == state.inode
    return same and (item.path.suffix == ".gz" or item.info.st_size >= state.offset)
