"use strict";
// The summary table: sorting, noises, groups of columns, and why a cell is empty.

const summary = document.getElementById("summary");
const summaryBody = summary.tBodies[0];

/** What a cell is sorted by: its number, else its words; null where it is empty. */
function cellKey(cell) {
  if (cell.dataset.value === undefined) return cell.textContent.trim();
  if (cell.dataset.value === "") return null;
  return cell.dataset.value === "inf" ? Infinity : cell.dataset.value === "-inf" ? -Infinity : Number(cell.dataset.value);
}

/** Order two keys; empty cells come last in either direction. */
function compareKeys(a, b, sign) {
  if (a === null || b === null) return (a === null) - (b === null);
  if (typeof a === "string") return sign * a.localeCompare(b, "en", { numeric: true });
  return a === b ? 0 : sign * (a < b ? -1 : 1);
}

function sortBy(heading) {
  const before = heading.getAttribute("aria-sort");
  const first = heading.dataset.better === "higher" ? "descending" : "ascending";
  const direction = before === "none" ? first : before === "ascending" ? "descending" : "ascending";
  for (const other of heading.parentElement.cells) other.setAttribute("aria-sort", "none");
  heading.setAttribute("aria-sort", direction);
  const sign = direction === "ascending" ? 1 : -1;
  const rows = [...summaryBody.rows].filter((row) => !row.classList.contains("ceiling"));
  rows.sort((a, b) => compareKeys(cellKey(a.cells[heading.cellIndex]), cellKey(b.cells[heading.cellIndex]), sign));
  summaryBody.append(...rows);
}

for (const button of summary.querySelectorAll(".sort")) {
  button.addEventListener("click", () => sortBy(button.closest("th")));
}

document.getElementById("table-noise")?.addEventListener("change", (event) => {
  for (const row of summaryBody.rows) row.hidden = event.target.value !== "" && row.dataset.noise !== event.target.value;
});

for (const box of document.querySelectorAll(".table-group")) {
  box.addEventListener("change", () => {
    for (const cell of summary.querySelectorAll(`[data-group="${box.value}"]`)) cell.hidden = !box.checked;
  });
}

const reason = document.getElementById("reason");
for (const button of summary.querySelectorAll(".gap")) {
  const tell = () => {
    reason.textContent = `${button.getAttribute("aria-label").replace(". Why?", "")}. ${button.dataset.reason}`;
  };
  button.addEventListener("click", tell);
  button.addEventListener("mouseenter", tell);
}
