"use strict";
// Sorts and filters the tables. Without it the page is complete: every row is there, in the order of urgency or of time.
for (const section of document.querySelectorAll("section[data-table]")) {
  const body = section.querySelector("tbody");
  const rows = Array.from(body.rows, (row) => ({
    row,
    text: row.textContent.toLowerCase(),
    verdict: row.dataset.verdict || "",
    keys: Array.from(row.cells, (cell) => (cell.dataset.key || cell.textContent).toLowerCase()),
  }));
  const search = section.querySelector("input[type=search]");
  const verdict = section.querySelector("select");
  const count = section.querySelector("[role=status]");
  section.querySelector(".controls").hidden = false;

  const filter = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = verdict ? verdict.value : "";
    let shown = 0;
    for (const { row, text, verdict: held } of rows) {
      const fits = (!wanted || held === wanted) && words.every((word) => text.includes(word));
      row.hidden = !fits;
      if (fits) shown += 1;
    }
    count.textContent = `${shown} of ${rows.length} shown`;
  };
  let pause;
  search.addEventListener("input", () => {
    clearTimeout(pause);
    pause = setTimeout(filter, rows.length > 1000 ? 150 : 0);
  });
  if (verdict) verdict.addEventListener("change", filter);
  filter();

  const heads = Array.from(section.querySelectorAll("thead th"));
  const order = new Intl.Collator(undefined, { numeric: true }).compare;
  heads.forEach((head, column) => {
    const button = head.querySelector("button");
    if (!button) return;
    button.disabled = false;
    button.addEventListener("click", () => {
      const descending = head.getAttribute("aria-sort") === "ascending";
      for (const other of heads) other.setAttribute("aria-sort", "none");
      head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      const sign = descending ? -1 : 1;
      rows.sort((a, b) => sign * order(a.keys[column], b.keys[column]));
      body.append(...rows.map(({ row }) => row));
    });
  });
}
