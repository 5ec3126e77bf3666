import logging

STANDARD_ATTRIBUTES = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


class FactsFormatter(logging.Formatter):
    """Appends the `extra` of a record to its message, as `name=value`."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        facts = [
            f"{name}={value}"
            for name, value in vars(record).items()
            if name not in STANDARD_ATTRIBUTES
        ]
        return " ".join([super().formatMessage(record), *facts])
