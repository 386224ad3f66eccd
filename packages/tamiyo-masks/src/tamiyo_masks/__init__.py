"""Legal actions of growing networks, and distributions over them."""

from leyline_types import LegalityRules
from tamiyo_masks.action_masks import ActionMasks
from tamiyo_masks.categorical import MaskedCategorical
from tamiyo_masks.factored import FactoredMaskedCategorical, floors_by_head
from tamiyo_masks.inference import ordinary
from tamiyo_masks.legality import LegalityColumns, action_masks, masks_from_columns
from tamiyo_masks.objects import (
    build_slot_states,
    compute_action_masks,
    compute_batch_masks,
    slot_id_to_index,
)
from tamiyo_masks.relevance import relevant_heads
from tamiyo_masks.validation import (
    IllegalActionError,
    InvalidStateMachineError,
    check_actions,
    check_logits,
    check_masks,
    invalid_rows,
)

__all__ = [
    "ActionMasks",
    "FactoredMaskedCategorical",
    "IllegalActionError",
    "InvalidStateMachineError",
    "LegalityColumns",
    "LegalityRules",
    "MaskedCategorical",
    "action_masks",
    "build_slot_states",
    "check_actions",
    "check_logits",
    "check_masks",
    "compute_action_masks",
    "compute_batch_masks",
    "floors_by_head",
    "invalid_rows",
    "masks_from_columns",
    "ordinary",
    "relevant_heads",
    "slot_id_to_index",
]
