"""Learning when and what to grow: rollouts, recurrent PPO, evaluation and the `tamiyo` command."""

from simic_training.config import PPOConfig, TrainConfig
from simic_training.episodes import Episodes, play_episodes
from simic_training.evaluation import RIVAL_NAMES, Row, evaluate_run
from simic_training.interrupts import Interrupted, InterruptGuard
from simic_training.losses import PPOLoss, ppo_loss
from simic_training.picture import draw_growth
from simic_training.ppo import NonFiniteLossError, UpdateStats, update_policy
from simic_training.returns import Advantages, against_replicas, generalized_advantages, normalize_advantages
from simic_training.reward import HostState, RewardTerms, growth_reward
from simic_training.rollout import collect_episodes, hold_back
from simic_training.run_folder import RunFolder, RunFolderError
from simic_training.seeding import evaluation_seeds, training_seeds
from simic_training.statistics import Estimate, estimate
from simic_training.training import Progress, train
from simic_training.trajectory import Trajectory, stack_steps

__all__ = [
    "RIVAL_NAMES",
    "Advantages",
    "Episodes",
    "Estimate",
    "HostState",
    "InterruptGuard",
    "Interrupted",
    "NonFiniteLossError",
    "PPOConfig",
    "PPOLoss",
    "Progress",
    "RewardTerms",
    "Row",
    "RunFolder",
    "RunFolderError",
    "TrainConfig",
    "Trajectory",
    "UpdateStats",
    "against_replicas",
    "collect_episodes",
    "draw_growth",
    "estimate",
    "evaluate_run",
    "evaluation_seeds",
    "generalized_advantages",
    "growth_reward",
    "hold_back",
    "normalize_advantages",
    "play_episodes",
    "ppo_loss",
    "stack_steps",
    "train",
    "training_seeds",
    "update_policy",
]
