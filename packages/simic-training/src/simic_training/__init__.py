"""Learning when and what to grow: environments, recurrent PPO, runs, evaluation, reports and the `tamiyo` command."""

from simic_training.engines.faults import UnitFailedError
from simic_training.engines.here import HereEngine
from simic_training.engines.local import LocalEngine
from simic_training.engines.ray_engine import RayEngine
from simic_training.engines.unit import Engine, EngineError
from simic_training.envs.flatten import FlattenAction, FlattenVectorAction
from simic_training.envs.registration import register_envs
from simic_training.envs.single import GrowthEnv
from simic_training.envs.vector import GrowthVectorEnv
from simic_training.evaluation.headroom import Headroom, measure_headroom
from simic_training.evaluation.look_then_leap import ArmTable, LookThenLeapController, fit_arms
from simic_training.evaluation.parts import PartsFolder
from simic_training.evaluation.run import Evaluation, evaluate_run
from simic_training.evaluation.schedules import Schedule, ScheduleChoice, ScheduleController
from simic_training.evaluation.stages import EvaluationOptions
from simic_training.growth.config import GrowthConfig
from simic_training.growth.draws import HostGroup, OtherDataError, draw_groups
from simic_training.growth.reward import RewardTerms, growth_reward
from simic_training.growth.world import GrowthWorld
from simic_training.ppo.collect import Carry, collect, first_carry
from simic_training.ppo.config import PPOConfig, Ratio
from simic_training.ppo.environments import Environments, EnvStep, Seen
from simic_training.ppo.finite import NonFiniteLossError
from simic_training.ppo.losses import PPOLoss, ppo_loss
from simic_training.ppo.returns import Advantages, generalized_advantages
from simic_training.ppo.trajectory import Trajectory, Transitions
from simic_training.ppo.update import UpdateStats, make_optimizer, update_policy
from simic_training.report.page import write_report
from simic_training.runs.config import TrainConfig
from simic_training.runs.divergence import DivergedRunError
from simic_training.runs.folder import RunFolder, RunFolderError
from simic_training.runs.interrupts import Interrupted, InterruptGuard
from simic_training.runs.presets import preset
from simic_training.runs.rollout import Rollout, roll_out
from simic_training.runs.size import TooLargeError
from simic_training.runs.training import Progress, train

__all__ = [
    "Advantages",
    "ArmTable",
    "Carry",
    "DivergedRunError",
    "Engine",
    "EngineError",
    "EnvStep",
    "Environments",
    "Evaluation",
    "EvaluationOptions",
    "FlattenAction",
    "FlattenVectorAction",
    "GrowthConfig",
    "GrowthEnv",
    "GrowthVectorEnv",
    "GrowthWorld",
    "Headroom",
    "HereEngine",
    "HostGroup",
    "InterruptGuard",
    "Interrupted",
    "LocalEngine",
    "LookThenLeapController",
    "NonFiniteLossError",
    "OtherDataError",
    "PPOConfig",
    "PPOLoss",
    "PartsFolder",
    "Progress",
    "Ratio",
    "RayEngine",
    "RewardTerms",
    "Rollout",
    "RunFolder",
    "RunFolderError",
    "Schedule",
    "ScheduleChoice",
    "ScheduleController",
    "Seen",
    "TooLargeError",
    "TrainConfig",
    "Trajectory",
    "Transitions",
    "UnitFailedError",
    "UpdateStats",
    "collect",
    "draw_groups",
    "evaluate_run",
    "first_carry",
    "fit_arms",
    "generalized_advantages",
    "growth_reward",
    "make_optimizer",
    "measure_headroom",
    "ppo_loss",
    "preset",
    "register_envs",
    "roll_out",
    "train",
    "update_policy",
    "write_report",
]
