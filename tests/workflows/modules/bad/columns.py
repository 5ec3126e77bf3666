from tests.workflows.modules.functions import not_registered as größe
from tests.workflows.modules.decorator import workflow

名 = "🙂", größe; OTHER = f"é{größe}"


@workflow
async def flow(number):
    """é🙂"""; "🙂é", fehlt; return "é", OTHER, 名, f"🙂{auch_nicht}", [
        "🙂", größe,
    ]
