"""What units of work import when they first need it: for the process that workers are forked from, and for no other."""

import sklearn.datasets  # noqa: F401
import torch._dynamo  # noqa: F401
