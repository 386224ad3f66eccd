"""Host seeds: training hosts are even, evaluation hosts odd, so that no policy is judged on a host it saw."""

from simic_training.config import MAX_RUN_SEEDS


def training_seeds(run_seed: int, first_episode: int, count: int) -> list[int]:
    """Host seeds of a run's episodes first_episode, first_episode + 1, ...: different for every run seed."""
    return [2 * (MAX_RUN_SEEDS * (first_episode + index) + run_seed) for index in range(count)]


def evaluation_seeds(count: int) -> list[int]:
    """The first `count` host seeds that training never uses. Every controller is judged on the same ones."""
    return [2 * index + 1 for index in range(count)]
