'''The text of a module: it has code in it.

def flow(): pass
'''
from tests.workflows.modules.decorator import workflow

LETTER = """\
Dear {name},

    @workflow
    import this;   

Bye
"""

OTHER = """
async def flow():
    return LETTER
"""; AFTER = "x"

JOINED = ("one "
          # of two
          "two")
RAW, BYTES = r"\d" "\t", b"a\x00"


@workflow
async def flow(name):
    """Writes.

    LETTER
    """
    text = '''
  indented
'''
    return [LETTER.format(name=name), AFTER, JOINED, RAW, len(BYTES), text]
