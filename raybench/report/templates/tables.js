// Tables: a button in each heading sorts (third press: the order they came in); fields filter.
const MISSING = "\u2014";

function compare(a, b, direction) {
  if (a === "" || b === "") return (a === "") - (b === "");  // what is missing stands last
  const numeric = Number(a) - Number(b);
  return direction * (Number.isNaN(numeric) ? a.localeCompare(b, undefined, { numeric: true }) : numeric);
}

// The last row of the head: one above it may name groups of columns.
const titles = (table) => [...table.tHead.rows].at(-1).cells;

const valueOf = (row, index) => {
  const cell = row.cells[index];
  const value = cell.dataset.v ?? cell.textContent.trim();
  return value === MISSING ? "" : value;
};

function sortBy(table, header, rows) {
  const numeric = header.hasAttribute("data-numeric");
  const steps = numeric ? ["descending", "ascending", "none"] : ["ascending", "descending", "none"];
  const now = header.getAttribute("aria-sort") ?? "none";
  const next = steps[(steps.indexOf(now) + 1) % steps.length];
  for (const other of titles(table)) other.removeAttribute("aria-sort");
  if (next !== "none") header.setAttribute("aria-sort", next);
  const direction = next === "descending" ? -1 : 1;
  const sorted = next === "none" ? rows : rows
    .map((row) => [valueOf(row, header.cellIndex), row])
    .sort(([a], [b]) => compare(a, b, direction))
    .map(([, row]) => row);
  table.tBodies[0].append(...sorted);
  table.classList.toggle("sorted", next !== "none");
}

function setUpSorting(table) {
  const rows = [...table.tBodies[0].rows];
  for (const header of titles(table)) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    header.append(button);
    button.addEventListener("click", () => sortBy(table, header, rows));
  }
}

function setUpFilters(form) {
  const table = document.getElementById(form.dataset.table);
  const rows = [...table.tBodies[0].rows].map((row) => [row, row.textContent.toLowerCase()]);
  const output = form.querySelector("output");
  const show = () => {
    const { text, task, state } = form.elements;
    const words = text.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const [row, content] of rows) {
      row.hidden = !words.every((word) => content.includes(word))
        || Boolean(task?.value && row.dataset.task !== task.value)
        || Boolean(state?.value && row.dataset.state !== state.value);
      shown += !row.hidden;
    }
    output.value = `${shown} of ${rows.length} rows`;
  };
  form.addEventListener("input", show);
  form.addEventListener("submit", (event) => event.preventDefault());
  show();
}

all("table.sortable").forEach(setUpSorting);
all("form[data-table]").forEach(setUpFilters);
