"""What can go wrong with a policy, each with a type of its own."""


class PolicyContractError(TypeError):
    """A class does not keep to `PolicyBundle`; the message lists every difference."""


class UnknownPolicyError(ValueError):
    """No policy or controller of this name exists; the message lists those that do."""


class PolicyInputError(ValueError):
    """An input's shape, dtype or device is not what the policy takes; the message names both sides."""


class InferenceHiddenStateError(RuntimeError):
    """A hidden state made in inference mode reached a method that trains; `HiddenState.for_training` is the way."""


class CompiledPolicyError(RuntimeError):
    """A compiled policy was asked to change device, dtype or compile mode; it is left as it was."""


class CompilerMissingError(RuntimeError):
    """torch.compile has no C++ compiler to work with; the message says what to install."""


class OffPolicyUnsupportedError(NotImplementedError):
    """A method of off-policy learning was called on a policy that has none (`supports_off_policy` is False)."""


class CheckpointError(ValueError):
    """A checkpoint cannot be used: missing, damaged, or made for something else. Nothing was loaded."""


class TensorFileError(ValueError):
    """Bytes that are no tensors in the format of safetensors, or other ones than were expected."""


class NonFinitePolicyError(ValueError):
    """A policy computed NaN or infinity from a finite observation, so that it means no action."""
