"""The executor that invokes AWS Lambda functions: docs/how-to/aws-lambda.md."""

from durable_monty.executors.aws_lambda.executor import LambdaExecutor

__all__ = ["LambdaExecutor"]
