// What this browser can do, and which of the engine's modules it runs. Knows no model.

import { PocketError } from "./errors.js";

// Whole modules of one function each; a browser that lacks an instruction in it finds the module invalid.
const HEADER = [0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0];
const bytes = (number) => [0x41, ...number, 0xfd, 0x0f]; // i32.const, i8x16.splat
const floats = (number) => [0x43, ...number, 0xfd, 0x13]; // f32.const, f32x4.splat
// Relaxed instructions may give what a processor likes. What this one gives must be what all others' kernels
// compute, or a model would answer otherwise here.
const RELAXED = [
  // (1 + 2^-12)^2 - (1 + 2^-11) by f32x4.relaxed_madd: 2^-24 if it is rounded once, 0 if twice
  ...floats([0x00, 0x08, 0x80, 0x3f]), ...floats([0x00, 0x08, 0x80, 0x3f]), ...floats([0x00, 0x10, 0x80, 0xbf]),
  0xfd, 0x85, 0x02, 0xfd, 0x1f, 0, 0x43, 0, 0, 0, 0, 0x5c, // f32x4.extract_lane 0, f32.const 0, f32.ne
  // four times -3 * 100 by i32x4.relaxed_dot_i8x16_i7x16_add_s: -1200
  ...bytes([0x7d]), ...bytes([0xe4, 0x00]), ...bytes([0]),
  0xfd, 0x93, 0x02, 0xfd, 0x1b, 0, 0x41, 0xd0, 0x76, 0x46, // i32x4.extract_lane 0, i32.const -1200, i32.eq
  0x71, // i32.and
];
const MODULES = {
  // i8x16.popcnt of zeros
  simd: [...HEADER, 1, 5, 1, 0x60, 0, 1, 0x7b, 3, 2, 1, 0, 10, 10, 1, 8, 0, ...bytes([0]), 0xfd, 0x62, 0x0b],
  // exports what RELAXED comes to as "f"
  relaxed: [...HEADER, 1, 5, 1, 0x60, 0, 1, 0x7f, 3, 2, 1, 0, 7, 5, 1, 1, 0x66, 0, 0, 10, RELAXED.length + 4, 1, RELAXED.length + 2, 0, ...RELAXED, 0x0b],
  // a shared memory of one page, and i32.atomic.load of its first word
  threads: [...HEADER, 1, 4, 1, 0x60, 0, 0, 3, 2, 1, 0, 5, 4, 1, 3, 1, 1, 10, 11, 1, 9, 0, 0x41, 0, 0xfe, 0x10, 2, 0, 0x1a, 0x0b],
};

const isKnown = (module) => WebAssembly.validate(new Uint8Array(module));
const isTrue = (module) => new WebAssembly.Instance(new WebAssembly.Module(new Uint8Array(module))).exports.f() === 1;

/** @returns {{ simd: boolean, relaxed: boolean, threads: boolean }} what WebAssembly knows here, and does right */
export function instructions() {
  if (typeof WebAssembly !== "object") return { simd: false, relaxed: false, threads: false };
  const known = Object.fromEntries(Object.entries(MODULES).map(([name, module]) => [name, isKnown(module)]));
  return { ...known, relaxed: known.relaxed && isTrue(MODULES.relaxed) };
}

/**
 * Which module to run with how many threads.
 *
 * @param {{ simd: boolean, relaxed: boolean, threads: boolean, isolated: boolean, cores: number }} device
 * @param {{ threads?: number, vectors?: "simd" | "relaxed" }} [wanted]  else what suits the device
 * @returns {{ variant: string, threads: number, single: string }} `single` says why there is one thread alone
 */
export function choose(device, { threads: wanted, vectors = device.relaxed ? "relaxed" : "simd" } = {}) {
  if (!device.simd) {
    throw new PocketError("unsupported", "This browser lacks WebAssembly's vector instructions (SIMD128), without which a model is too slow. Browsers have them since Chrome 91, Firefox 89 and Safari 16.4: please update.");
  }
  if (wanted !== undefined && !(Number.isInteger(wanted) && wanted >= 1 && wanted <= 64)) {
    throw new PocketError("argument", `The number of threads is ${wanted}; it must be a whole number from 1 to 64.`);
  }
  if (vectors !== "simd" && !(vectors === "relaxed" && device.relaxed)) {
    throw new PocketError("argument", `The vectors are "${vectors}"; this browser has ${device.relaxed ? "simd and relaxed" : "simd alone"}.`);
  }
  const single = reasonForOne(device, wanted);
  const threads = single ? 1 : (wanted ?? usual(device.cores));
  const variant = vectors + (single ? "" : "-threads");
  return { variant, threads, single };
}

function reasonForOne(device, wanted) {
  if (wanted === 1) return "one thread was asked for";
  if (!device.threads) return "this browser has no threads for WebAssembly";
  if (!device.isolated) return "the page is not cross-origin isolated: its server sends no COOP and COEP headers";
  if (wanted === undefined && device.cores < 2) return "the device has one core";
  return "";
}

// Browsers count what the processor can run at once, two a core on most computers, and slow cores on phones;
// threads that wait for slow ones are slow. All of few, and half of many.
const usual = (cores) => (cores <= 4 ? cores : Math.min(Math.floor(cores / 2), 8));

/** What this worker's device and page allow. */
export function device() {
  return { ...instructions(), isolated: self.crossOriginIsolated === true, cores: navigator.hardwareConcurrency ?? 1 };
}
