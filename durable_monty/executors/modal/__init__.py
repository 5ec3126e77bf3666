"""The executor that runs calls in Modal."""

from durable_monty.executors.modal.executor import ModalExecutor

__all__ = ["ModalExecutor"]
