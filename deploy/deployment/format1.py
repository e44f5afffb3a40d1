"""Descriptions of format 1, which adroit wrote until November 2026, as format 2.

Format 1 has British or American keys, and facts of a check's runtime beside its verdict.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adroit.validation import rename_keys

_VERDICT = ("passed", "used", "images")


def from_format1(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a description of format 1, as a description of format 2 has them; what is damaged stays so."""
    renamed = rename_keys(values, {"quantisation": "quantization", "preprocessing.deviation": "std"})
    renamed["format"] = 2
    parity, budget = renamed.get("parity"), renamed.get("budget")
    if isinstance(parity, Mapping):
        verdict = {name: parity[name] for name in _VERDICT if name in parity}
        renamed["parity"] = {**verdict, "facts": {k: v for k, v in parity.items() if k not in _VERDICT}}
    if isinstance(budget, Mapping) and isinstance(budget.get("settings"), list):
        settings = [
            rename_keys(setting, {"unsteadiness": "instability"}) if isinstance(setting, Mapping) else setting
            for setting in budget["settings"]
        ]
        renamed["budget"] = {**budget, "settings": settings}
    return renamed
