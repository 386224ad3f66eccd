"""Who does the units of work that rollouts and evaluations consist of: this process, or others beside it."""
