import logging

STANDARD_ATTRIBUTES = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


class FactsFormatter(logging.Formatter):
    """Puts what a record carries in `extra` behind its message, as `name=value`."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        facts = [
            f"{name}={value}"
            for name, value in vars(record).items()
            if name not in STANDARD_ATTRIBUTES
        ]
        return " ".join([super().formatMessage(record), *facts])
