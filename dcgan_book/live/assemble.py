"""WebAssembly from text: `python -m dcgan_book.live.assemble` after a change of engine.wat.

Only that and a test need wasmtime. What browsers get are the files that it writes.
"""

import re
from pathlib import Path

SOURCE = Path(__file__).with_name("engine.wat")
MULTIPLY_AND_ADD = re.compile(r"\(f32x4\.add (\(.+?\))\s+\(f32x4\.mul (\(.+?\)) (\(.+?\))\)\)")


def assemble():
    """The files that engine.wat becomes: path to bytes.

    One is for every browser that has vectors, one for those that also multiply and add in one
    instruction (relaxed SIMD): there each multiplication of the text whose product is added is
    replaced. Raises ImportError without wasmtime.
    """
    from wasmtime import wat2wasm  # here, as the package does without it

    text = SOURCE.read_text(encoding="utf-8")
    fused = MULTIPLY_AND_ADD.sub(r"(f32x4.relaxed_madd \2 \3 \1)", text)
    return {
        SOURCE.with_name("engine.wasm"): bytes(wat2wasm(text)),
        SOURCE.with_name("engine-fused.wasm"): bytes(wat2wasm(fused)),
    }


if __name__ == "__main__":
    for path, code in assemble().items():
        path.write_bytes(code)
        print(f"{path.name}: {len(code)} bytes")
