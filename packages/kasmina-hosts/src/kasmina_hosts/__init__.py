"""Real networks with seed slots, in training: blueprints, blending, lifecycle and populations of hosts."""

from kasmina_hosts.actions import Applied, SlotRules, apply_actions, is_legal
from kasmina_hosts.alpha import ramp, ramp_progress
from kasmina_hosts.blending import Gate, blend, incubate
from kasmina_hosts.blueprints import (
    ConvLightSeed,
    NormSeed,
    UnbuiltBlueprintError,
    build_blueprint,
    built_blueprints,
)
from kasmina_hosts.config import HostConfig
from kasmina_hosts.gates import GateInputs, Gates
from kasmina_hosts.grown import GrownSeed
from kasmina_hosts.host import build_host, host_slots
from kasmina_hosts.lifecycle import Lifecycle, empty_lifecycle, tick
from kasmina_hosts.population import DivergedHostError, HostPopulation, StepOutcome
from kasmina_hosts.tasks import DigitsTask, Split

__all__ = [
    "Applied",
    "ConvLightSeed",
    "DigitsTask",
    "DivergedHostError",
    "Gate",
    "GateInputs",
    "Gates",
    "GrownSeed",
    "HostConfig",
    "HostPopulation",
    "Lifecycle",
    "NormSeed",
    "SlotRules",
    "Split",
    "StepOutcome",
    "UnbuiltBlueprintError",
    "apply_actions",
    "blend",
    "build_blueprint",
    "build_host",
    "built_blueprints",
    "empty_lifecycle",
    "host_slots",
    "incubate",
    "is_legal",
    "ramp",
    "ramp_progress",
    "tick",
]
