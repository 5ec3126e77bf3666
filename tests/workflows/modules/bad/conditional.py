import sys

from tests.workflows.modules.decorator import workflow
from tests.workflows.modules.functions import not_registered

if sys.version_info >= (3, 99):
    def load(text): return text
else:
    def load(text): return text * 2

try:
    import tomllib
except ImportError:
    tomllib = None

SQUARES = {}
for n in range(3):
    SQUARES[n] = n * n

NAMES = []
with open(__file__) as file:
    NAMES.append(file.name)

TEMPORARY = 1
del TEMPORARY
TEMPORARY = 2

while not (FOUND := True):
    pass

globals()["DYNAMIC"] = 3


@workflow
async def flow(text):
    return load(text), tomllib.loads(""), SQUARES, NAMES, TEMPORARY, FOUND, DYNAMIC
