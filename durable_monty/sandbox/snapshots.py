"""Snapshot bytes: compressed on their way out, bounded and checked on their way in."""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass

from durable_monty.exceptions import SnapshotUnusable

_MAGIC = b"MONTY\0"
# A dump holds at most the sandbox's heap, whose default limit is 64 MiB.
MAX_DUMP_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Packed:
    """`size`: bytes of the dump; `format`: its version; `digest`: its hex SHA-256."""

    data: bytes
    size: int
    format: int
    digest: str


def pack(dump: bytes) -> Packed:
    return Packed(
        data=zlib.compress(dump, level=1 if len(dump) > 64 * 1024 else 6),
        size=len(dump),
        format=dump_format(dump),
        digest=hashlib.sha256(dump).hexdigest(),
    )


def unpack(data: bytes, size: int) -> tuple[bytes, str]:
    """The dump of `size` bytes and its digest. Raises `SnapshotUnusable`."""
    if size > MAX_DUMP_BYTES:
        raise SnapshotUnusable(f"it claims a size of {size:,} bytes")
    inflate = zlib.decompressobj()
    try:
        dump = inflate.decompress(data, max_length=size + 1)
    except zlib.error as exc:
        raise SnapshotUnusable(f"it cannot be decompressed ({exc})") from exc
    if len(dump) != size or not inflate.eof:
        raise SnapshotUnusable(f"it does not hold the {size:,} bytes that it claims")
    return dump, hashlib.sha256(dump).hexdigest()


def dump_format(dump: bytes) -> int:
    """The dump-format version: two bytes after the magic word; 0 if it is unknown."""
    if not dump.startswith(_MAGIC) or len(dump) < len(_MAGIC) + 2:
        return 0
    return int.from_bytes(dump[len(_MAGIC) : len(_MAGIC) + 2], "little")
