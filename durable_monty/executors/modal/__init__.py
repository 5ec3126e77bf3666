"""The executor that spawns functions of a Modal app: docs/how-to/modal.md."""

from durable_monty.executors.modal.executor import ModalExecutor

__all__ = ["ModalExecutor"]
