"""The smallest settings that are still a run of many updates."""

from dataclasses import replace

from kasmina_hosts import HostConfig, HostFamily
from simic_training.growth.config import GrowthConfig
from simic_training.ppo.config import PPOConfig
from simic_training.runs.config import TrainConfig

TINY = TrainConfig(
    episodes=40,
    groups=2,
    hidden_dim=16,
    env=GrowthConfig(
        family=HostFamily(
            class_counts=(2, 2),
            widths=(4, 4),
            max_label_noise=0.0,
            max_shift=0,
            max_occlusion=0,
            max_epochs=(2, 2),
        ),
        host=HostConfig(interactions=False, batch_size=256),
        group_size=2,
    ),
    ppo=PPOConfig(epochs=2, minibatches=1),
)

LONG = replace(TINY, episodes=256)
"""Too many updates to come to the end between twenty kills."""
