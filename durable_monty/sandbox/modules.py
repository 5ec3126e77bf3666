"""Names the modules that the sandbox has."""

from __future__ import annotations

# Our own list, so that the closure of a workflow is the same on every version of the sandbox.
MODULES = frozenset(
    "asyncio base64 binascii bisect collections copy csv dataclasses datetime decimal functools "
    "hashlib itertools json math os os.path pathlib posixpath random re sys time tomllib typing "
    "unicodedata".split()
)
