"""Makes the adapter importable as ``vectors`` and the oracles as ``ops``; only tests are collected."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
collect_ignore_glob = ["adapter.py", "format.py", "policy.py", "statements.py"]
