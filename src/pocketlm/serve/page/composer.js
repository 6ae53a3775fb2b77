// Where one writes: the text, the files that go with it, and the buttons to send and stop.

import { $, h, icon, iconButton } from "./dom.js";

const LARGEST = 2_000_000; // bytes of one file
const MOST = 20;
const onTouch = matchMedia("(pointer: coarse)");

let attached = []; // { name, text }
let hooks;

// `hooks` are send(text, files), stop(), editLast() and failed(words).
export function begin(given) {
  hooks = given;
  const prompt = $("prompt");
  prompt.addEventListener("input", update);
  prompt.addEventListener("keydown", (event) => {
    if (event.isComposing) return;
    if (event.key === "Enter" && !event.shiftKey && !event.altKey && !onTouch.matches) {
      event.preventDefault();
      send();
    }
    if (event.key === "ArrowUp" && prompt.value === "" && !attached.length && hooks.editLast()) {
      event.preventDefault();
    }
  });
  prompt.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length) {
      event.preventDefault();
      attach(files);
    }
  });
  $("composer").addEventListener("submit", (event) => {
    event.preventDefault();
    send();
  });
  $("stop").addEventListener("click", () => hooks.stop());
  $("attach").addEventListener("click", () => $("files").click());
  $("files").addEventListener("change", () => {
    attach([...$("files").files]);
    $("files").value = "";
  });
  dropping();
  update();
}

export function focus() {
  if (!onTouch.matches) $("prompt").focus();
}

export function fill(text, files = []) {
  $("prompt").value = text;
  attached = [...files];
  draw();
  update();
}

export function isEmpty() {
  return $("prompt").value === "" && attached.length === 0;
}

// Show the button that fits: one sends, or one stops what is written.
export function busy(writing) {
  const hadFocus = [$("send"), $("stop")].includes(document.activeElement);
  $("send").hidden = writing;
  $("stop").hidden = !writing;
  if (hadFocus) $("prompt").focus();
}

function send() {
  const text = $("prompt").value.trim();
  if ((!text && !attached.length) || $("send").hidden) return;
  const files = attached;
  fill("");
  hooks.send(text, files);
}

function update() {
  $("send").disabled = $("prompt").value.trim() === "" && attached.length === 0;
  const prompt = $("prompt");
  if (!CSS.supports("field-sizing", "content")) {
    prompt.style.height = "auto";
    prompt.style.height = `${prompt.scrollHeight}px`;
  }
}

async function attach(files) {
  for (const file of files) {
    try {
      if (attached.length >= MOST) throw new Error(`no more than ${MOST} files go with a message`);
      attached.push({ name: file.name, text: await textOf(file) });
    } catch (error) {
      hooks.failed(`${file.name}: ${error.message}.`);
    }
  }
  draw();
  update();
  focus();
}

async function textOf(file) {
  if (file.size > LARGEST) throw new Error(`it has more than ${LARGEST.toLocaleString()} bytes`);
  let text;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(await file.arrayBuffer());
  } catch {
    throw new Error("it is no UTF-8 text");
  }
  if (text.includes("\0")) throw new Error("it is no text");
  if (!text.trim()) throw new Error("it is empty");
  return text;
}

function draw() {
  $("attached").replaceChildren(
    ...attached.map((file) =>
      chip(file.name, file.text.length, iconButton("close", `Remove ${file.name}`, () => {
        attached = attached.filter((each) => each !== file);
        draw();
        update();
        $("prompt").focus();
      })),
    ),
  );
}

export function chip(name, characters, button = null) {
  const size = characters < 10_000 ? characters.toLocaleString() : `${Math.round(characters / 1000).toLocaleString()} thousand`;
  return h("li", { className: "chip" }, icon("file"), h("b", {}, name), h("small", {}, `${size} characters`), button);
}

// Files dropped anywhere on the page.
function dropping() {
  const holdsFiles = (event) => event.dataTransfer?.types.includes("Files");
  let inside = 0;
  const show = (by) => {
    inside = Math.max(0, inside + by);
    $("drop").hidden = inside === 0;
  };
  addEventListener("dragenter", (event) => holdsFiles(event) && show(1));
  addEventListener("dragleave", (event) => holdsFiles(event) && show(-1));
  addEventListener("dragover", (event) => holdsFiles(event) && event.preventDefault());
  addEventListener("drop", (event) => {
    if (!holdsFiles(event)) return;
    event.preventDefault();
    show(-inside);
    attach([...event.dataTransfer.files]);
  });
}
