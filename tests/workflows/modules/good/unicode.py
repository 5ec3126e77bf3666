from tests.workflows.modules.decorator import workflow
from tests.workflows.modules.functions import charge as bezahle

größe = 3; 数 = größe * 2; smile = "🙂🙂"; rest = "🙂" + smile
STRASSE = {"ß": "ẞ", "ﬁ": 1}


def straße(ﬁ): return "é" + ﬁ  # a ligature: Python reads fi


@workflow
async def flow(größe):
    smile = "🙂"; paid = await bezahle(größe, 数)
    return [smile, paid, rest, straße("ü")]
