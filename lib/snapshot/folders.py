"""Snapshot folders, on disk or in S3: each appears as a whole or not at all, and is never changed."""

import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from lib.model import ACCOUNTS, FINDINGS, INVOCATIONS, ROWS, SEEN, NotReadable, PooltableError, moment, now

TABLES = {"accounts": ACCOUNTS, "rows": ROWS, "invocations": INVOCATIONS, "seen": SEEN, "findings": FINDINGS}
"""What a folder holds besides its manifest, each as ``<name>.parquet``."""

READ_TABLES = ("accounts", "rows", "invocations", "seen")
"""Those that were read or known; findings follow from them."""

_MANIFEST = "manifest.json"
_EXPECTED = {"started_at", "complete", "sources", "wiring"}
_STAMP = re.compile(r"\d{8}T\d{6}\.\d{3}Z")
_PART = ".part"
_ABANDONED = timedelta(days=1)


class Folders:
    """The snapshot folders of one environment below a local path or ``s3://bucket/prefix``, named by their stamps."""

    def __init__(self, path: str, environment: str) -> None:
        self._is_local = not path.startswith("s3://")
        try:
            self._files, base = fs.FileSystem.from_uri(Path(path).absolute().as_uri() if self._is_local else path)
        except (OSError, pa.ArrowInvalid) as error:
            raise PooltableError(f"Cannot use {path} for snapshots: {error}. Set another [snapshots] path.") from error
        # A name is one folder, and none that is hidden or leads elsewhere.
        self._base = f"{base}/{re.sub(r'^[.]', '%2E', quote(environment, safe=''))}"

    def stamps(self) -> list[str]:
        """Return the stamps of all folders, newest first, whole or not."""
        try:
            found = self._files.get_file_info(fs.FileSelector(self._base, allow_not_found=True))
        except OSError as error:
            raise NotReadable(f"Cannot read the snapshots in {self._base}: {error}.") from error
        return sorted((entry.base_name for entry in found if _STAMP.fullmatch(entry.base_name)), reverse=True)

    def manifest(self, stamp: str) -> dict[str, Any] | None:
        """Return a folder's manifest, or None for a folder that is not whole or not of this schema."""
        try:
            with self._files.open_input_stream(f"{self._base}/{stamp}/{_MANIFEST}") as stream:
                manifest = json.loads(stream.read())
            if not isinstance(manifest, dict) or manifest.get("schema") != 1 or not manifest.keys() >= _EXPECTED:
                return None
            for name in TABLES:
                pq.read_metadata(f"{self._base}/{stamp}/{name}.parquet", filesystem=self._files)
        except (OSError, ValueError):
            return None
        return manifest

    def table(self, stamp: str, name: str) -> pa.Table:
        """Return one table of a folder."""
        path = f"{self._base}/{stamp}/{name}.parquet"
        # Not a data set: an environment called `a=b` is no partition.
        return pq.read_table(path, filesystem=self._files, schema=TABLES[name], partitioning=None)

    def add(self, tables: Mapping[str, pa.Table], manifest: Mapping[str, Any]) -> str:
        """Store these tables and this manifest (its schema and digest are set here); return the new folder's stamp.

        Locally by one rename; in S3 the manifest comes last. Raises ``PooltableError`` with nothing left behind.
        """
        try:
            return self._stored(tables, manifest)
        except OSError as error:
            raise PooltableError(
                f"Cannot store the snapshot in {self._base}: {error}. Make room there, or set another [snapshots] path."
            ) from error

    def replace(self, stamp: str, name: str, table: pa.Table) -> None:
        """Put another table in the place of one, at one stroke; the manifest keeps what it said of the first."""
        if self._is_local:
            _replace(Path(self._base) / stamp, name, table)
        else:
            with self._files.open_output_stream(f"{self._base}/{stamp}/{name}.parquet") as stream:
                pq.write_table(table.combine_chunks(), stream, compression="zstd")

    def remove(self, stamp: str) -> None:
        """Remove a folder. Its manifest goes first, so that nobody ever sees half of a snapshot."""
        with suppress(FileNotFoundError):
            self._files.delete_file(f"{self._base}/{stamp}/{_MANIFEST}")
            self._files.delete_dir(f"{self._base}/{stamp}")

    def remove_abandoned(self) -> None:
        """Remove what a process left behind that died while it wrote."""
        for part in Path(self._base).glob(f".*{_PART}") if self._is_local else ():
            if now().timestamp() - part.stat().st_mtime > _ABANDONED.total_seconds():
                shutil.rmtree(part, ignore_errors=True)

    def _stored(self, tables: Mapping[str, pa.Table], manifest: Mapping[str, Any]) -> str:
        if self._is_local:
            _make_private(Path(self._base))
        # Made with mode 0700; hidden, so that nobody takes it for a snapshot before it is renamed.
        staging = Path(tempfile.mkdtemp(prefix=".", suffix=_PART, dir=self._base if self._is_local else None))
        try:
            for name, schema in TABLES.items():
                _write(staging / f"{name}.parquet", tables[name].select(schema.names).cast(schema))
            content = dict(manifest) | {"schema": 1, "digest": _digest(staging)}
            with _private(staging / _MANIFEST) as file:
                file.write(json.dumps(content, indent=2).encode())
            return self._published(staging, manifest["started_at"])
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def _published(self, staging: Path, started_at: str) -> str:
        taken = set(self.stamps())
        free = (stamp for stamp in _stamps_from(started_at) if stamp not in taken)
        if self._is_local:
            _sync_folder(staging)
            return next(stamp for stamp in free if _moved(staging, Path(self._base) / stamp))
        stamp = next(free)
        for name in (*(f"{name}.parquet" for name in TABLES), _MANIFEST):
            target = f"{self._base}/{stamp}/{name}"
            with (staging / name).open("rb") as staged, self._files.open_output_stream(target) as stream:
                shutil.copyfileobj(staged, stream)
        return stamp


def _stamps_from(started_at: str) -> Iterator[str]:
    """Yield the stamp of a moment, then of each later millisecond."""
    first = moment(started_at)
    assert first is not None
    for later_ms in count():
        at = first + timedelta(milliseconds=later_ms)
        yield f"{at:%Y%m%dT%H%M%S}.{at.microsecond // 1000:03d}Z"


def _moved(staging: Path, folder: Path) -> bool:
    """Put a folder in its place for good; return false where somebody else was faster."""
    try:
        staging.rename(folder)
    except OSError as error:
        if error.errno in (errno.EEXIST, errno.ENOTEMPTY):
            return False
        raise
    _sync_folder(folder.parent)
    return True


def read_folder(folder: Path) -> tuple[dict[str, pa.Table], dict[str, Any]]:
    """Return what was read and known in one local folder, wherever it lies, and its manifest."""
    try:
        manifest = json.loads((folder / _MANIFEST).read_bytes())
        tables = {name: pq.read_table(folder / f"{name}.parquet", schema=TABLES[name]) for name in READ_TABLES}
    except (OSError, ValueError) as error:
        raise NotReadable(f"{folder} is no snapshot folder that can be read: {error}.") from error
    return tables, manifest


def replace_findings(folder: Path, findings: pa.Table) -> None:
    """Put other findings into a local folder, at one stroke."""
    _replace(folder, "findings", findings)


def _replace(folder: Path, name: str, table: pa.Table) -> None:
    part = folder / f".{name}{_PART}"
    part.unlink(missing_ok=True)
    _write(part, table)
    part.replace(folder / f"{name}.parquet")
    _sync_folder(folder)


def _make_private(folder: Path) -> None:
    for part in (*reversed(folder.parents), folder):
        # Only what is made here: a folder that was there keeps its owner's choice.
        with suppress(FileExistsError):
            part.mkdir(mode=0o700)


@contextmanager
def _private(path: Path) -> Iterator[BinaryIO]:
    """Open a new file that only its owner may read, and leave it on disk for good."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def _write(path: Path, table: pa.Table) -> None:
    with _private(path) as file:
        # One chunk per column: the same content gives the same bytes, however it came together.
        pq.write_table(table.combine_chunks(), file, compression="zstd")


def _digest(folder: Path) -> str:
    """Return a digest of what was read, by which a plan is bound to it; findings follow from it."""
    content = hashlib.sha256()
    for name in READ_TABLES:
        with (folder / f"{name}.parquet").open("rb") as file:
            content.update(hashlib.file_digest(file, "sha256").digest())
    return content.hexdigest()


def _sync_folder(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
