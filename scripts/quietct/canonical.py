"""One text for one value, however it is written, so that equal settings are seen to be equal."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

LARGEST = 2**53  # beyond it, not every whole number is a float


def plain_numbers(value: Any) -> Any:
    """Give a JSON value with 3 for every 3.0, the same number; keys stay in their order."""
    if isinstance(value, Mapping):
        return {key: plain_numbers(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain_numbers(part) for part in value]
    if isinstance(value, float) and value.is_integer() and abs(value) <= LARGEST:
        return int(value)
    return value


def canonical_json(value: Any) -> str:
    """Give the one JSON text of a value: neither the order of keys nor 3 or 3.0 changes it."""
    return json.dumps(plain_numbers(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest_of(*parts: Any) -> str:
    """Give a short digest (20 hexadecimal digits of SHA-256) of JSON values."""
    return hashlib.sha256(canonical_json(parts).encode()).hexdigest()[:20]
