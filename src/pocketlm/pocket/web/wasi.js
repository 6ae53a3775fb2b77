// The little that the C++ library asks of an operating system: a clock, random bytes, a place for messages.
// There are no files. Knows no model.

const OK = 0;
const BAD_FILE = 8; // errno of WASI preview 1
const NOT_SUPPORTED = 52;

/** The module ended itself; nothing of it can be used any more. */
export class Exit extends Error {
  constructor(status) {
    super(`the module ended with status ${status}`);
  }
}

/**
 * Functions for all that a module imports from WASI.
 * @param {WebAssembly.Module} module
 * @param {() => WebAssembly.Memory} memory  asked for at each call: the module may bring it along
 */
export function wasi(module, memory) {
  const view = () => new DataView(memory().buffer);
  const bytes = (address, length) => new Uint8Array(memory().buffer, address, length);

  const known = {
    // A list of (address, length) to write to standard output or error.
    fd_write(_file, list, count, written) {
      let text = "";
      let total = 0;
      for (let i = 0; i < count; ++i) {
        const address = view().getUint32(list + 8 * i, true);
        const length = view().getUint32(list + 8 * i + 4, true);
        text += new TextDecoder().decode(bytes(address, length).slice()); // decoders take no shared memory
        total += length;
      }
      if (text.trim()) console.error(text.trimEnd());
      view().setUint32(written, total, true);
      return OK;
    },
    clock_time_get(_clock, _precision, to) {
      const now = performance.timeOrigin + performance.now();
      view().setBigUint64(to, BigInt(Math.round(now * 1e6)), true);
      return OK;
    },
    clock_res_get(_clock, to) {
      view().setBigUint64(to, 1000n, true);
      return OK;
    },
    random_get(to, length) {
      for (let done = 0; done < length; done += 65536) {
        const part = crypto.getRandomValues(new Uint8Array(Math.min(length - done, 65536)));
        bytes(to + done, part.length).set(part);
      }
      return OK;
    },
    environ_sizes_get: none,
    args_sizes_get: none,
    environ_get: () => OK,
    args_get: () => OK,
    sched_yield: () => OK,
    fd_close: () => BAD_FILE,
    fd_read: () => BAD_FILE,
    fd_seek: () => BAD_FILE,
    fd_fdstat_get: () => BAD_FILE,
    fd_prestat_get: () => BAD_FILE, // so the library sees that there are no folders
    fd_prestat_dir_name: () => BAD_FILE,
    proc_exit(status) {
      throw new Exit(status);
    },
  };

  // There are no variables and no arguments.
  function none(count, size) {
    view().setUint32(count, 0, true);
    view().setUint32(size, 0, true);
    return OK;
  }

  const wanted = WebAssembly.Module.imports(module).filter((each) => each.module === "wasi_snapshot_preview1");
  return Object.fromEntries(wanted.map(({ name }) => [name, known[name] ?? (() => NOT_SUPPORTED)]));
}
