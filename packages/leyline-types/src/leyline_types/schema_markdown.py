"""The observation schema as a Markdown page, generated so that it cannot drift from the table."""

from collections.abc import Iterator

from leyline_types.schema import FIELDS, ObservationSchema
from leyline_types.schema_fields import Block, Encoding, FieldSpec
from leyline_types.slots import SlotConfig

_TITLES = {
    Block.BASE: "Base: once",
    Block.SLOT: "Slot: once per slot",
    Block.TELEMETRY: "Telemetry: once per slot, optional",
}


def observation_markdown() -> str:
    """The page: a table per block, with widths, units, formulas and ranges."""
    schema = ObservationSchema(SlotConfig.default(), telemetry=True)
    base, slot, telemetry = (schema.block_dim(block) for block in Block)
    lines = [
        "# The observation vector",
        "",
        "Generated from `schema_fields.py` by `python tools/check_contracts.py --write`; do not edit.",
        "",
        f"Schema version {schema.version}. With S slots the vector has {base} + {slot} S features, and {telemetry} S",
        f"more with telemetry: {base + 3 * slot} for three slots, {schema.dim} with telemetry. Unknown values are 0",
        "with their `_known` bit 0. All features of an empty slot are 0 but those marked *, which describe the layer",
        "before the slot. symlog(x) = sign(x) ln(1 + |x|).",
        "",
    ]
    for block in Block:
        lines += [f"## {_TITLES[block]}", "", *_table(FIELDS[block]), ""]
    return "\n".join(lines)


def _table(specs: tuple[FieldSpec, ...]) -> Iterator[str]:
    yield "| offset | feature | width | unit | value | range | meaning |"
    yield "|---|---|---|---|---|---|---|"
    offset = 0
    for spec in specs:
        cells = (
            str(offset),
            f"`{spec.name}`{'*' if spec.of_slot else ''}",
            str(spec.width),
            spec.unit,
            _formula(spec),
            f"{spec.low:g} to {spec.high:g}",
            spec.description,
        )
        yield f"| {' | '.join(cells)} |"
        offset += spec.width


def _formula(spec: FieldSpec) -> str:
    if spec.encoding is Encoding.ONE_HOT:
        return "one-hot: " + ", ".join(member.name for member in spec.categories)
    if spec.encoding is Encoding.KNOWN:
        return f"`{spec.source}` is known"
    ratio = f"`{spec.source}`" + (f" / `{spec.relative_to}`" if spec.relative_to else "")
    ratio = f"symlog({ratio})" if spec.symlog else ratio
    return ratio if spec.scale == 1.0 else f"{ratio} x {spec.scale:g}"
