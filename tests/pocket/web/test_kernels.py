"""The native tests of the kernels, in a browser: all types, and the portable kernels' bits.

They are programs of their own, which a target of their own builds after `make web`.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page

BUILT = Path(__file__).parents[3] / "build/wasm/src/pocketlm/pocket/wasm"

RUN = """async (program) => {
  const { wasi, Exit } = await import("/web/wasi.js");
  const said = [];
  console.error = (text) => said.push(text);
  const module = await WebAssembly.compile(Uint8Array.from(program));
  let memory;
  const system = wasi(module, () => memory);
  const { exports } = await WebAssembly.instantiate(module, { wasi_snapshot_preview1: system });
  memory = exports.memory;
  try {
    exports._start();
  } catch (error) {
    if (!(error instanceof Exit)) throw error;
    said.push(error.message);
  }
  return said.join("\\n");
}"""


@pytest.mark.slow
@pytest.mark.parametrize("vectors", ["simd", "relaxed"])
def test_kernels_pass_their_tests_in_a_browser(vectors: str, opened: Callable[[], Page]) -> None:
    program = BUILT / f"test_kernels-{vectors}.wasm"
    if not program.exists():
        pytest.skip("not built: cmake --build build/wasm --target kernel-tests")
    said = opened().evaluate(RUN, list(program.read_bytes()))
    done, _, of = said.partition(" tests passed")[0].rpartition("\n")[2].partition(" of ")
    assert done == of, said
    assert int(of) > 20
    assert "status" not in said
