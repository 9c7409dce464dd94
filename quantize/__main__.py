"""``python -m quantize``."""

import sys

NEEDED = ("ml_dtypes", "onnx", "onnxruntime", "optimum", "safetensors", "sentencepiece", "torch", "transformers")


def run() -> int:
    """Run the command line; without the extra say what to install."""
    try:
        from quantize.cli import main
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in NEEDED:
            raise
        sys.stderr.write(f"error: the toolchain needs {error.name}, which is not installed: pip install 'edge-demist[quantize]'\n")
        return 2
    return main()


if __name__ == "__main__":
    sys.exit(run())
