"""Every transformation over two devices, with explicit axes and with automatic ones."""

import subprocess
import sys
from pathlib import Path


def test_every_transformation_over_two_devices():
    program = Path(__file__).parent / "meshes.py"
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
