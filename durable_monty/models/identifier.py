from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import models

if TYPE_CHECKING:
    # The stubs know whether a `CharField` may be null; of a class of its own they do not.
    IdentifierField = models.CharField
else:

    class IdentifierField(models.CharField):
        """A text that names one thing. Only the same characters are the same text.

        The usual collations of MySQL and MariaDB take `AbC1`, `abc1`, `abc1 ` and `ábc1` for one
        text; those of SQLite and PostgreSQL do not.
        """

        def db_parameters(self, connection: Any) -> dict[str, Any]:
            parameters = super().db_parameters(connection)
            is_mariadb = getattr(connection, "mysql_is_mariadb", None)
            if is_mariadb is not None:
                parameters["collation"] = "utf8mb4_nopad_bin" if is_mariadb else "utf8mb4_0900_bin"
            return parameters
