"use strict";
/* Sorts and filters tables: a button in every column's head, a field above. All rows take part,
   also those that are not shown yet. */
(() => {
  const STEP = 500;
  const LONG = 40;

  const compare = (numeric) => (a, b) => {
    if (!numeric) return a.localeCompare(b, "en", { numeric: true });
    const number = (text) => parseFloat(text.replace("\u2212", "-"));
    return number(a) - number(b);
  };

  /* Rows from columns, of which some name each of their texts once. */
  function rowsOf(columns) {
    const whole = columns.map((column) =>
      Array.isArray(column) ? column : column.places.map((place) => column.texts[place]));
    return whole[0].map((_, row) => whole.map((column) => column[row]));
  }

  function setUp(box) {
    const table = box.querySelector("table");
    const body = table.tBodies[0];
    const heads = [...table.tHead.rows[0].cells];
    const numeric = heads.map((head) => head.classList.contains("number"));
    const data = box.querySelector("script.rows");
    const rows = data
      ? rowsOf(JSON.parse(data.textContent))
      : [...body.rows].map((row) => [...row.cells].map((cell) => cell.textContent));
    const field = box.querySelector("input");
    const count = box.querySelector("output");
    const more = box.querySelector("button.more");
    const atFirst = body.rows.length;
    const lowered = new Map(rows.map((row) => [row, row.join("\t").toLowerCase()]));
    let column = -1;
    let direction = 1;
    let limit = atFirst;

    function chosenRows() {
      const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
      const chosen = rows.filter((row) => words.every((word) => lowered.get(row).includes(word)));
      if (column < 0) return chosen;
      const order = compare(numeric[column]);
      const missing = (row) => row[column] === "n/a" || row[column] === "";
      return chosen.sort((a, b) => {
        // What is missing comes last, whichever the direction.
        if (missing(a) || missing(b)) return missing(a) - missing(b);
        return direction * order(a[column], b[column]);
      });
    }

    function show() {
      const chosen = chosenRows();
      const shown = chosen.slice(0, limit);
      const fragment = document.createDocumentFragment();
      for (const row of shown) {
        const line = document.createElement("tr");
        row.forEach((text, index) => {
          const cell = document.createElement("td");
          if (numeric[index]) cell.className = "number";
          else if (text.length > LONG) cell.className = "long";
          cell.textContent = text;
          line.append(cell);
        });
        fragment.append(line);
      }
      body.replaceChildren(fragment);
      const matching = chosen.length < rows.length ? `matching rows (of ${rows.length})` : "rows";
      count.textContent = `${shown.length} of ${chosen.length} ${matching} are shown`;
      more.hidden = shown.length === chosen.length;
    }

    function sortBy(index) {
      direction = column === index ? -direction : 1;
      column = index;
      heads.forEach((head, other) => {
        if (other === index) head.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
        else head.removeAttribute("aria-sort");
      });
      show();
    }

    heads.forEach((head, index) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = head.textContent;
      button.addEventListener("click", () => sortBy(index));
      head.replaceChildren(button);
    });
    field.addEventListener("input", () => {
      limit = Math.max(atFirst, 1);
      show();
    });
    more.addEventListener("click", () => {
      limit += STEP;
      show();
    });
    box.querySelector(".tools").hidden = rows.length < 2;
    more.hidden = atFirst >= rows.length;
  }

  document.querySelectorAll("div.table").forEach(setUp);
})();
