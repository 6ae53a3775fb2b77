// Where one writes: the text, and the buttons to send and stop.

import { $ } from "../../serve/page/dom.js";

const onTouch = matchMedia("(pointer: coarse)");
let hooks;

/** @param {{ send: (text: string) => void, stop: () => void, editLast: () => boolean }} given */
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
    if (event.key === "ArrowUp" && prompt.value === "" && hooks.editLast()) event.preventDefault();
  });
  $("composer").addEventListener("submit", (event) => {
    event.preventDefault();
    send();
  });
  $("stop").addEventListener("click", () => hooks.stop());
}

/** Put the cursor there, but do not call a phone's keyboard. */
export function focus() {
  if (!onTouch.matches) $("prompt").focus();
}

export function fill(text) {
  $("prompt").value = text;
  update();
}

/** Show the button that fits: one sends, or one stops what is written. */
export function busy(writing) {
  const hadFocus = [$("send"), $("stop")].includes(document.activeElement);
  $("send").hidden = writing;
  $("stop").hidden = !writing;
  if (hadFocus) $("prompt").focus();
}

function send() {
  const text = $("prompt").value.trim();
  if (!text || $("send").hidden) return;
  fill("");
  hooks.send(text);
}

function update() {
  const prompt = $("prompt");
  $("send").disabled = prompt.value.trim() === "";
  if (!CSS.supports("field-sizing", "content")) {
    prompt.style.height = "auto";
    prompt.style.height = `${prompt.scrollHeight}px`;
  }
}
