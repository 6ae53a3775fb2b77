// Builds the browser's part: bundles the scripts, and puts the page's files beside the WebAssembly modules.
//
//   node build.mjs [FOLDER]       FOLDER holds the modules already; by default src/pocketlm/web
//
// The service worker is told a hash over all files, so that browsers notice when any changed, and only then.

import { createHash } from "node:crypto";
import { copyFileSync, existsSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const desktop = join(here, "../../serve/page");
const out = process.argv[2] ?? join(here, "../../web");

/** Every script that a browser starts by its name. */
const SCRIPTS = ["page.js", "engine.js", "store.js", "thread.js", "renderer.js"];
const MODULES = ["pocket-relaxed-threads.wasm", "pocket-relaxed.wasm", "pocket-simd-threads.wasm", "pocket-simd.wasm"];
const LICENCES = "licences.txt";
const COPIED = [
  ...["index.html", "manifest.webmanifest"].map((name) => join(here, name)),
  ...["theme.js", "icon.svg", "icon-180.png", "icon-192.png", "icon-512.png"].map((name) => join(desktop, name)),
];
const common = {
  bundle: true,
  minify: true,
  format: "esm",
  target: ["chrome123", "firefox121", "safari17.5"],
  legalComments: "none", // they are in a file of their own
  outdir: out,
  logLevel: "warning",
};

async function main() {
  const lacking = MODULES.filter((name) => !existsSync(join(out, name)));
  if (lacking.length) throw new Error(`${out} lacks ${lacking.join(", ")}: build the WebAssembly modules first (make web)`);
  const entries = [...SCRIPTS, "style.css"];
  const { metafile } = await build({ ...common, entryPoints: entries.map((name) => join(here, name)), metafile: true });
  for (const file of COPIED) copyFileSync(file, join(out, basename(file)));
  writeFileSync(join(out, LICENCES), licences(Object.keys(metafile.inputs)));
  const files = [...entries, ...COPIED.map((file) => basename(file)), ...MODULES].sort();
  const define = { BUILD: JSON.stringify(hash([...files, LICENCES])), FILES: JSON.stringify(files) };
  await build({ ...common, format: "iife", entryPoints: [join(here, "sw.js")], define });
}

function hash(names) {
  const whole = createHash("sha256").update(readFileSync(join(here, "sw.js")));
  for (const name of names) whole.update(name).update(readFileSync(join(out, name)));
  return whole.digest("hex").slice(0, 16);
}

/** The licences of packages that the scripts hold. */
function licences(inputs) {
  const packages = new Set(inputs.map((path) => /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1]).filter(Boolean));
  const texts = [...packages].sort().map((name) => {
    const folder = join(here, "node_modules", name);
    const { version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
    const file = readdirSync(folder).find((each) => /^licen[cs]e/i.test(each));
    if (!file) throw new Error(`${name} comes without the text of its licence`);
    return `${name} ${version} (${license})\n\n${readFileSync(join(folder, file), "utf8").trim()}\n`;
  });
  return `The scripts in this folder are pocketlm's. They hold parts of these packages:\n\n${texts.join("\n\n")}`;
}

await main();
