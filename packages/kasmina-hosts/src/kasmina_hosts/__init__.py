"""Real networks with seed slots, in training: blueprints, blending, lifecycle and populations of hosts."""

from kasmina_hosts.actions import Applied, SlotRules, apply_actions, is_legal
from kasmina_hosts.alpha import ramp, ramp_progress
from kasmina_hosts.arrays import ArrayTask
from kasmina_hosts.blending import Gate, blend, incubate
from kasmina_hosts.blueprints import build_blueprint, built_blueprints
from kasmina_hosts.config import HostConfig, OptimizerKind
from kasmina_hosts.digits import DigitsTask, digits_digest
from kasmina_hosts.episode import DivergedHostError
from kasmina_hosts.family import LACKS, FamilyMember, HostFamily, Lack
from kasmina_hosts.gates import GateInputs, Gates
from kasmina_hosts.grower import Grower, GrowthStep
from kasmina_hosts.grown import GrownSeed
from kasmina_hosts.host import build_host, host_bytes, host_size, host_slots
from kasmina_hosts.lifecycle import Lifecycle, empty_lifecycle, tick
from kasmina_hosts.population import HostPopulation, StepOutcome
from kasmina_hosts.saving import StateError
from kasmina_hosts.seed_optimizer import OptimizerError
from kasmina_hosts.seed_slot import GrownLayer, SlotError
from kasmina_hosts.slotted_model import ExportError
from kasmina_hosts.tasks import Split, Task, data_digest
from kasmina_hosts.variation import Variation, VariedTask, vary

__all__ = [
    "LACKS",
    "Applied",
    "ArrayTask",
    "DigitsTask",
    "DivergedHostError",
    "ExportError",
    "FamilyMember",
    "Gate",
    "GateInputs",
    "Gates",
    "Grower",
    "GrownLayer",
    "GrownSeed",
    "GrowthStep",
    "HostConfig",
    "HostFamily",
    "HostPopulation",
    "Lack",
    "Lifecycle",
    "OptimizerError",
    "OptimizerKind",
    "SlotError",
    "SlotRules",
    "Split",
    "StateError",
    "StepOutcome",
    "Task",
    "Variation",
    "VariedTask",
    "apply_actions",
    "blend",
    "build_blueprint",
    "build_host",
    "built_blueprints",
    "data_digest",
    "digits_digest",
    "empty_lifecycle",
    "host_bytes",
    "host_size",
    "host_slots",
    "incubate",
    "is_legal",
    "ramp",
    "ramp_progress",
    "tick",
    "vary",
]
