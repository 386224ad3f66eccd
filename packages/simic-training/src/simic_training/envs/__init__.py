"""Gymnasium environments: the growing hosts as any library of reinforcement learning can train on them."""
