// A thread of the engine: the same module over the same memory, in a worker of its own, that computes for ever.
// The engine's worker starts it, with a stack and a place for the thread's variables, and ends it with itself.

import { wasi } from "./wasi.js";

self.onmessage = async ({ data: { module, memory, thread, stack, variables } }) => {
  const { exports } = await WebAssembly.instantiate(module, {
    env: { memory },
    pocketlm: { read: () => 1 }, // files are read by the engine's worker alone
    wasi_snapshot_preview1: wasi(module, () => memory),
  });
  exports.__stack_pointer.value = stack;
  exports.__wasm_init_tls(variables);
  exports.pocketlm_web_worker(thread);
};
