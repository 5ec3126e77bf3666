"""The pages of executions."""
