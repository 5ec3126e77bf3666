"""The code that the documentation shows."""

from tests.documents import DOCS, of_language

(_block,) = of_language(DOCS / "how-to" / "use-the-admin.md", "text")
exec(_block.text)
