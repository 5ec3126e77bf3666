"""Compresses dumps to snapshots, and inflates them with bounds and checks."""

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
    """A compressed dump: its size in bytes, its format version and its hex SHA-256.

    `dictionary` is the hex SHA-256 of the dictionary it needs, empty if it needs none.
    """

    data: bytes
    size: int
    format: int
    digest: str
    dictionary: str


def pack(dump: bytes, dictionary: bytes | None = None) -> Packed:
    level = 1 if len(dump) > 64 * 1024 else 9
    deflate = zlib.compressobj(
        level, zlib.DEFLATED, -zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL, zlib.Z_DEFAULT_STRATEGY,
        *([dictionary] if dictionary else []),
    )  # fmt: skip
    return Packed(
        data=deflate.compress(dump) + deflate.flush(),
        size=len(dump),
        format=dump_format(dump),
        digest=hashlib.sha256(dump).hexdigest(),
        dictionary=digest_of(dictionary),
    )


def unpack(data: bytes, size: int, dictionary: bytes | None = None) -> tuple[bytes, str]:
    """Returns the dump of `size` bytes and its digest. Raises `SnapshotUnusable`."""
    if size > MAX_DUMP_BYTES:
        raise SnapshotUnusable(f"it claims a size of {size:,} bytes")
    inflate = zlib.decompressobj(-zlib.MAX_WBITS, *([dictionary] if dictionary else []))
    try:
        dump = inflate.decompress(data, max_length=size + 1)
    except zlib.error as exc:
        raise SnapshotUnusable(f"it cannot be decompressed ({exc})") from exc
    if len(dump) != size or not inflate.eof:
        raise SnapshotUnusable(f"it does not hold the {size:,} bytes that it claims")
    return dump, hashlib.sha256(dump).hexdigest()


def digest_of(dictionary: bytes | None) -> str:
    return hashlib.sha256(dictionary).hexdigest() if dictionary else ""


def dump_format(dump: bytes) -> int:
    """Returns the format version, two bytes after the magic word; 0 if it is unknown."""
    if not dump.startswith(_MAGIC) or len(dump) < len(_MAGIC) + 2:
        return 0
    return int.from_bytes(dump[len(_MAGIC) : len(_MAGIC) + 2], "little")
