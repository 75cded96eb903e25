// Tables that are sorted by their heads and keep their rows: focus and selection survive an update.

// A row more would be read by nobody, and slow the browser.
const ROWS_MAX = 200;

class Table {
  // columns: { label, text(row), sort(row)?, number?, main?, draw(cell, row)? }; key(row): a row's identity.
  constructor(place, { caption, columns, key, empty, sortedBy = null, descending = false }) {
    Object.assign(this, { columns, key, empty, sorted: sortedBy, descending });
    this.rows = new Map();
    this.data = [];
    this.heads = columns.map((column, index) => this.head(column, index));
    this.body = element("tbody", { role: "rowgroup" });
    const heads = element("tr", { role: "row" }, ...this.heads);
    this.table = element(
      "table",
      { role: "table" },
      element("caption", { class: "hidden" }, caption),
      element("thead", { role: "rowgroup" }, heads),
      this.body,
    );
    this.note = element("p", { class: "empty" }, empty);
    const scroll = element("div", { class: "scroll", role: "group", tabindex: "0", "aria-label": caption }, this.table);
    this.scroll = scroll;
    place.replaceChildren(scroll, this.note);
    this.showOrder();
  }

  head(column, index) {
    const name = column.number ? "number" : null;
    if (!column.sort) {
      const label = column.label === "" ? element("span", { class: "hidden" }, "Actions") : column.label;
      return element("th", { scope: "col", role: "columnheader", class: name }, label);
    }
    const button = element("button", { type: "button", class: "sort", onclick: () => this.sortBy(index) }, column.label);
    return element("th", { scope: "col", role: "columnheader", class: name }, button);
  }

  sortBy(index) {
    this.descending = this.sorted === index ? !this.descending : Boolean(this.columns[index].number);
    this.sorted = index;
    this.showOrder();
    this.update(this.data);
  }

  showOrder() {
    this.heads.forEach((head, index) => {
      if (!this.columns[index].sort) return;
      const order = this.descending ? "descending" : "ascending";
      setAttribute(head, "aria-sort", this.sorted === index ? order : "none");
    });
  }

  ordered(data) {
    const column = this.columns[this.sorted];
    if (!column) return data;
    const sign = this.descending ? -1 : 1;
    const compare = (a, b) => {
      const [one, other] = [column.sort(a), column.sort(b)];
      if (typeof one === "number" && typeof other === "number") return one - other;
      return String(one).localeCompare(String(other), "en", { numeric: true });
    };
    return [...data].sort((a, b) => sign * compare(a, b));
  }

  // Returns how many rows are shown.
  update(data, note = this.empty) {
    this.data = data;
    const focused = document.activeElement;
    const shown = this.ordered(data).slice(0, ROWS_MAX);
    const before = this.rows;
    this.rows = new Map();
    let next = this.body.firstElementChild;
    for (const row of shown) {
      const key = String(this.key(row));
      const line = before.get(key) ?? this.line(row);
      before.delete(key);
      this.rows.set(key, line);
      this.fill(line, row);
      if (line === next) next = next.nextElementSibling;
      else this.body.insertBefore(line, next);
    }
    for (const line of before.values()) line.remove();
    const rest = data.length - shown.length;
    setText(this.note, rest > 0 ? `and ${plural(rest, "more row")}: filter to see them` : note);
    this.note.hidden = data.length > 0 && rest === 0;
    this.scroll.hidden = data.length === 0;
    if (focused && focused !== document.activeElement && focused.isConnected) focused.focus();
    return shown.length;
  }

  line() {
    const cells = this.columns.map((column) =>
      element(column.main ? "th" : "td", {
        role: column.main ? "rowheader" : "cell",
        scope: column.main ? "row" : null,
        "data-label": column.label,
        class: [column.number ? "number" : "", column.wide ? "wide" : ""].join(" ").trim() || null,
      }),
    );
    return element("tr", { role: "row" }, ...cells);
  }

  fill(line, row) {
    this.columns.forEach((column, index) => {
      const cell = line.children[index];
      if (column.draw) column.draw(cell, row);
      else {
        const text = column.text(row);
        setText(cell, text);
        // A card has no line for what is not there.
        cell.toggleAttribute("data-none", text === "" || text === "–");
      }
    });
  }
}

// The rows that have every word of the filter.
function filtered(rows, words, text) {
  const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
  if (wanted.length === 0) return rows;
  return rows.filter((row) => {
    const all = text(row).filter(Boolean).join(" ").toLowerCase();
    return wanted.every((word) => all.includes(word));
  });
}
