"""Tables of relative position bias, which a fine-tuning adds to the weights of a pretraining."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

TABLE = 'attn.relative_position_bias_table'
"""End of a table's name; every block has one."""


def tables_in(names: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return an encoder's tables of relative position bias by their names."""
    return {name: value for name, value in names.items() if name.endswith(TABLE)}
