"""The toolchain without its extra says what to install."""

import subprocess
import sys


def test_a_missing_package_is_named_with_the_remedy(tmp_path):
    script = "import sys, runpy; sys.modules['safetensors'] = None; runpy.run_module('quantize', run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", script, "build", "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "safetensors" in done.stderr and "pip install 'edge-demist[quantize]'" in done.stderr
    assert "Traceback" not in done.stderr
