"""Records as tables of Parquet; docs/annotate.md describes the columns."""

from __future__ import annotations

import io
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from f2edge.annotate.records import Record
from f2edge.annotate.stores import StorePath
from f2edge.errors import AnnotationError, InputError, MissingExtraError

try:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq
except ImportError as error:
    raise MissingExtraError("pyarrow", "annotate") from error

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from f2edge.annotate.pictures import Place

_SHAPE = pa.list_(pa.float32())
_TYPES = {
    "width": pa.int32(),
    "height": pa.int32(),
    "index": pa.int32(),
    "box": _SHAPE,
    "quad": _SHAPE,
    "polygons": pa.list_(_SHAPE),
    "confidence": pa.float32(),
    "score": pa.float32(),
    "calibrated": pa.bool_(),
    "tokens": pa.int32(),
    "objects": pa.int32(),
    "relations": pa.int32(),
    "seen": pa.bool_(),
    "kept": pa.bool_(),
    "pass": pa.int32(),
}
"""The types of the columns that are no text."""
_COLUMNS = {"passed": "pass"}
"""Columns that have another name than the field of the record."""
_FIELDS = {_COLUMNS.get(field.name, field.name): field.name for field in fields(Record)}
SCHEMA = pa.schema([(column, _TYPES.get(column, pa.string())) for column in _FIELDS])
"""The columns of the output."""


def to_parquet(records: Iterable[Record], about: dict[str, str]) -> bytes:
    """Return the content of a Parquet file.

    Args:
        records: its rows.
        about: what the file says about itself, by name.
    """
    rows = [vars(record) for record in records]
    columns = {column: [row[field] for row in rows] for column, field in _FIELDS.items()}
    table = pa.table(columns, schema=SCHEMA.with_metadata(about))
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def open_parquet(path: Place) -> Any:
    """Open a Parquet file of any kind, here or in a store, as a ``pyarrow.parquet.ParquetFile``.

    Raises:
        InputError: it is none, or is damaged.
    """
    try:
        return pq.ParquetFile(path.open("rb") if isinstance(path, StorePath) else path)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path} is no sound Parquet file ({_first_line(error)}); write it again") from error


def read_about(path: Path) -> dict[str, str]:
    """Return what a Parquet file says about itself; only its end is read.

    Raises:
        AnnotationError: it is damaged, or not of this kind.
    """
    try:
        metadata = pq.read_schema(path).metadata or {}
    except (pa.ArrowException, OSError) as error:
        raise _damaged(path, error) from error
    return {key.decode(): value.decode() for key, value in metadata.items()}


def read_table(path: Path, columns: list[str] | None = None) -> Any:
    """Return a shard as a ``pyarrow.Table``.

    Raises:
        AnnotationError: it is damaged, or not of this kind.
    """
    try:
        return pq.read_table(path, columns=columns, schema=None if columns else SCHEMA, partitioning=None)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _damaged(path, error) from error


def read_records(path: Path, *, kept: bool = False, tasks: Sequence[str] = ()) -> Iterator[Record]:
    """Yield the records of a shard.

    Args:
        path: the shard.
        kept: leave out those that were dropped.
        tasks: leave out those of other tasks; by default there are those of all tasks and of the pictures.

    Raises:
        AnnotationError: it is damaged, or not of this kind.
    """
    table = read_table(path)
    if kept:
        table = table.filter(table["kept"])
    if tasks:
        table = table.filter(pc.is_in(table["task"], pa.array(list(tasks))))
    for row in table.to_pylist():
        values = {field: _frozen(row[column]) for column, field in _FIELDS.items()}
        yield Record(**values)


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _damaged(path: Path, error: Exception) -> AnnotationError:
    return AnnotationError(f"{path} is damaged ({_first_line(error)}): delete it and run the same command again")


def _first_line(error: Exception) -> str:
    return f"{(str(error) or type(error).__name__).splitlines()[0]:.120}"
