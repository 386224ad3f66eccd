"""Policies that decide when and what a network grows: protocol, registry, LSTM, MLP, heuristic, checkpoints."""

from tamiyo_policies.action_values import greedy_actions, joint_values, soft_logits, soft_values
from tamiyo_policies.base import PolicyBundleBase
from tamiyo_policies.builtin import register_builtin_policies
from tamiyo_policies.checkpoint import (
    Checkpoint,
    checkpoint_from_bytes,
    load_checkpoint,
    load_policy,
    policy_to_bytes,
    save_policy,
)
from tamiyo_policies.config import CompileMode, PolicyConfig
from tamiyo_policies.controllers import PolicyController, PolicyMemory, RandomController, WaitController
from tamiyo_policies.errors import (
    CheckpointError,
    CompiledPolicyError,
    CompilerMissingError,
    InferenceHiddenStateError,
    NonFinitePolicyError,
    OffPolicyUnsupportedError,
    PolicyContractError,
    PolicyInputError,
    TensorFileError,
    UnknownPolicyError,
)
from tamiyo_policies.factory import create_policy
from tamiyo_policies.heuristic import Decision, HeuristicController, HeuristicMemory
from tamiyo_policies.heuristic_rules import Rule
from tamiyo_policies.heuristic_settings import BlueprintCandidate, HeuristicSettings
from tamiyo_policies.hidden import HiddenState
from tamiyo_policies.loading import CHECKPOINT_NAME, CONTROLLER_NAMES, load_controller
from tamiyo_policies.lstm_bundle import LSTMPolicy
from tamiyo_policies.mlp_bundle import MLPPolicy
from tamiyo_policies.protocol import PolicyBundle
from tamiyo_policies.q_bundle import MLPQPolicy
from tamiyo_policies.registry import (
    ENTRY_POINT_GROUP,
    PolicyClass,
    clear_registry,
    get_policy,
    list_policies,
    register_policy,
)
from tamiyo_policies.results import ActionResult, EvalResult, ForwardResult
from tamiyo_policies.tensor_files import (
    DeclaredTensor,
    TensorHeader,
    parse_object,
    read_header,
    read_tensors,
)

__all__ = [
    "CHECKPOINT_NAME",
    "CONTROLLER_NAMES",
    "ENTRY_POINT_GROUP",
    "ActionResult",
    "BlueprintCandidate",
    "Checkpoint",
    "CheckpointError",
    "CompileMode",
    "CompiledPolicyError",
    "CompilerMissingError",
    "Decision",
    "DeclaredTensor",
    "EvalResult",
    "ForwardResult",
    "HeuristicController",
    "HeuristicMemory",
    "HeuristicSettings",
    "HiddenState",
    "InferenceHiddenStateError",
    "LSTMPolicy",
    "MLPPolicy",
    "MLPQPolicy",
    "NonFinitePolicyError",
    "OffPolicyUnsupportedError",
    "PolicyBundle",
    "PolicyBundleBase",
    "PolicyClass",
    "PolicyConfig",
    "PolicyContractError",
    "PolicyController",
    "PolicyInputError",
    "PolicyMemory",
    "RandomController",
    "Rule",
    "TensorFileError",
    "TensorHeader",
    "UnknownPolicyError",
    "WaitController",
    "checkpoint_from_bytes",
    "clear_registry",
    "create_policy",
    "get_policy",
    "greedy_actions",
    "joint_values",
    "list_policies",
    "load_checkpoint",
    "load_controller",
    "load_policy",
    "parse_object",
    "policy_to_bytes",
    "read_header",
    "read_tensors",
    "register_builtin_policies",
    "register_policy",
    "save_policy",
    "soft_logits",
    "soft_values",
]
