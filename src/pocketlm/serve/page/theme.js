// Before anything is drawn: light or dark, where somebody chose it.
"use strict";
try {
  const theme = localStorage.getItem("pocketlm-theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // Storage may be forbidden: then it is as the system has it.
}
