"""Writes the expected files of modules again, to be read before they are committed.

`python -m tests.workflows.accept good/refund "refund(number=7)"`
"""

from __future__ import annotations

import os
import sys

import django


def main(path: str, call: str) -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    django.setup()
    from durable_monty.exceptions import WrongWorkflow
    from durable_monty.workflows.closure import closure_of
    from tests.workflows.support import output_of
    from tests.workflows.test_modules import MODULES, shown, workflow_of

    kind, _, name = path.partition("/")
    function, _, arguments = call.partition("(")
    try:
        closure = closure_of(workflow_of(kind, name, function))
    except WrongWorkflow as exc:
        text = f"run: {function}\n{exc}\n"
        text = text.replace(f"tests/workflows/modules/bad/{name}.py:", "")
    else:
        text = shown(closure, call, output_of(closure, eval(f"dict({arguments}")))
    (MODULES / f"{path}.expected").write_text(text)
    print(text)


if __name__ == "__main__":
    main(*sys.argv[1:3])
