"""What the README says, as it stands there."""

from tests.documents import README, blocks

(_block,) = (block for block in blocks(README) if "from unfold.admin" in block.text)
exec(_block.text)
