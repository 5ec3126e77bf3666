"""Lengths of texts, in characters, that columns, forms and the HTTP API share."""

MAX_NAME = 200  # names, keys, functions, error types, job ids
MAX_REASON = 2_000
