"""Students that write, on the tasks of lm-evaluation-harness."""
