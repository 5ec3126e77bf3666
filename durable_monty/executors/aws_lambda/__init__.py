"""The executor that runs calls in AWS Lambda."""

from durable_monty.executors.aws_lambda.executor import LambdaExecutor

__all__ = ["LambdaExecutor"]
