from durable_monty import register_function
from tests.benchmarks import workloads

register_function("step")(workloads.step)
