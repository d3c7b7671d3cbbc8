"use strict";
// What needs a script appears; light or dark is remembered; on paper everything is open.

for (const element of document.querySelectorAll("[data-needs-script]")) element.hidden = false;

const themeButton = document.getElementById("theme");
const prefersDark = matchMedia("(prefers-color-scheme: dark)");

/** Whether the page is dark now: as chosen here, else as the system is. */
function isDark() {
  return document.documentElement.dataset.theme ? document.documentElement.dataset.theme === "dark" : prefersDark.matches;
}

function showTheme() {
  themeButton.setAttribute("aria-pressed", String(isDark()));
}

try {
  const chosen = localStorage.getItem("quietct-theme");
  if (chosen) document.documentElement.dataset.theme = chosen;
} catch { /* A browser may refuse to keep anything. */ }

themeButton.addEventListener("click", () => {
  const theme = isDark() ? "light" : "dark";
  document.documentElement.dataset.theme = theme;
  try {
    localStorage.setItem("quietct-theme", theme);
  } catch { /* Then it holds until the page is closed. */ }
  showTheme();
});
prefersDark.addEventListener("change", showTheme);
showTheme();

let opened = [];
addEventListener("beforeprint", () => {
  opened = [...document.querySelectorAll("details:not([open])")];
  for (const element of opened) element.open = true;
});
addEventListener("afterprint", () => {
  for (const element of opened) element.open = false;
});
