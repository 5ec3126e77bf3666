"""The parts that the executors `http` and `aws_lambda` share: one request for each call."""
