"""One page that shows a run: how it learnt, what it grew where and when, and what it is worth."""
