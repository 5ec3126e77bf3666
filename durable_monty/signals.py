"""Signals about executions and calls, sent after the commit that made them true.

Receivers get keyword arguments: `execution_id` (a str) and `name` (of the execution, may be
empty); those of an execution also `status` and `error` ("Type: message", or None); those of a call
also `call_id` and `function`, and `call_failed` also `error`. The sender is the model class.

A receiver runs in the process that wrote the change: a worker, a process of its cluster, or the
web process in which somebody cancelled an execution. It should be quick, since it runs in the
worker's loop. An exception in it is logged by Django ("django.dispatch") and changes nothing.

Each signal is sent at most once: a process that is killed between its commit and the signal never
sends it. What must happen for each execution belongs into a function of the workflow.
"""

from __future__ import annotations

from django.dispatch import Signal

# An execution ended: it was completed, failed or cancelled.
execution_finished = Signal(use_caching=True)

# An execution failed; `execution_finished` is sent, too.
execution_failed = Signal(use_caching=True)

# A call has no attempts left, or its time is over: its error is final. It is not sent for errors
# that a person has answered with, nor for calls that were withdrawn.
call_failed = Signal(use_caching=True)

# A call was written that a person must answer.
call_waits_for_person = Signal(use_caching=True)
