// Each pool as a map with a square for each port; a large pool has squares for several.

const SQUARES_MAX = 1000;
const STATES = {
  free: "M1.5 1.5H8.5V8.5H1.5Z",
  reserved: "M1.5 1.5H8.5V8.5H1.5ZM8.5 1.5V8.5H1.5Z",
  active: "M1 1H9V9H1Z",
  quarantined: "M1.5 1.5L8.5 8.5M8.5 1.5L1.5 8.5",
};
const MEANING = {
  free: "free", reserved: "reserved, waits for a connection", active: "in use",
  quarantined: "kept free after a reservation that nobody used",
};

function stateOf(port) {
  if (port.active > 0) return "active";
  if (port.reserved > 0) return "reserved";
  return port.quarantined ? "quarantined" : "free";
}

function square(state, x = 0, y = 0) {
  return drawing("path", { d: STATES[state], class: `port ${state}`, transform: `translate(${x} ${y})` });
}

class PortMap {
  constructor(legend, place) {
    this.place = place;
    this.pools = new Map();
    legend.replaceChildren(...Object.entries(MEANING).map(([state, meaning]) => {
      const sign = drawing("svg", { viewBox: "0 0 10 10", "aria-hidden": "true", class: "square" }, square(state));
      return element("li", {}, sign, meaning);
    }));
  }

  update(pools) {
    if (pools.length === 0) {
      this.place.replaceChildren(element("p", { class: "empty" }, "There are no pools of data ports: passive mode is refused."));
      this.pools.clear();
      return;
    }
    const names = pools.map((pool) => pool.pool).sort();
    if (names.join() !== [...this.pools.keys()].join()) {
      this.pools = new Map(names.map((name) => [name, new PoolMap(name)]));
      this.place.replaceChildren(...[...this.pools.values()].map((pool) => pool.figure));
    }
    for (const pool of pools) this.pools.get(pool.pool).update(pool);
  }
}

class PoolMap {
  constructor(name) {
    this.text = element("p", { class: "muted num" });
    this.map = drawing("svg", { role: "img", class: "map" });
    this.drawn = "";
    this.columns = 0;
    this.busy = new Table(element("div"), {
      caption: `Busy ports of the pool ${name}`,
      key: (port) => port.port,
      empty: "No port is in use.",
      columns: [
        { label: "Port", main: true, number: true, text: (port) => String(port.port) },
        { label: "Reserved", number: true, text: (port) => String(port.reserved) },
        { label: "Connections", number: true, text: (port) => String(port.active) },
        { label: "By", wide: true, text: owners },
      ],
    });
    this.summary = element("summary", {}, "Busy ports");
    const busy = element("details", {}, this.summary, this.busy.scroll.parentElement);
    this.figure = element("figure", { class: "pool" }, element("figcaption", {}, element("strong", {}, name), this.text), this.map, busy);
    // The squares fill lines of the page's width.
    new ResizeObserver(() => this.draw()).observe(this.figure);
  }

  update(pool) {
    this.runs = pool.runs.map((run) => ({ active: 0, reserved: 0, quarantined: false, ...run }));
    const count = (each) => this.runs.reduce((all, run) => all + each(run) * (run.last - run.first + 1), 0);
    const sum = (key) => count((run) => run[key]);
    this.length = count(() => 1);
    // Sessions share ports, so these are connections, and a port with some is not used up.
    const text = `${plural(this.length, "port")}: ${plural(sum("active"), "connection")}, ` +
      `${sum("reserved")} reserved, ${count((run) => Number(stateOf(run) === "free"))} ports without any` +
      (pool.queued > 0 ? `; ${plural(pool.queued, "session")} waiting for a port` : "");
    setText(this.text, text);
    setAttribute(this.map, "aria-label", `Ports of the pool ${pool.pool}. ${text}`);
    const busy = count((run) => Number(run.active + run.reserved > 0));
    const part = pool.busy.length < busy ? `the first ${pool.busy.length} of ${busy}` : String(busy);
    setText(this.summary, `Busy ports (${part})`);
    this.busy.update(pool.busy);
    this.draw();
  }

  draw() {
    if (!this.runs) return;
    const each = Math.ceil(this.length / SQUARES_MAX);
    const size = 12;
    const columns = Math.max(1, Math.min(Math.floor(this.figure.clientWidth / size), Math.ceil(this.length / each)));
    const drawn = JSON.stringify([columns, this.runs]);
    if (drawn === this.drawn) return;
    this.drawn = drawn;
    const ports = this.runs.flatMap((run) =>
      Array.from({ length: run.last - run.first + 1 }, (_, index) => ({ ...run, port: run.first + index })));
    const squares = [];
    for (let start = 0; start < ports.length; start += each) {
      const group = ports.slice(start, start + each);
      const place = squares.length;
      const states = group.map(stateOf);
      const state = ["active", "reserved", "quarantined", "free"].find((it) => states.includes(it));
      const shape = square(state, (place % columns) * size, Math.floor(place / columns) * size);
      const count = (key) => group.reduce((all, port) => all + port[key], 0);
      const name = each === 1 ? `Port ${group[0].port}` : `Ports ${group[0].port} to ${group.at(-1).port}`;
      shape.append(drawing("title", {}, `${name}: ${plural(count("active"), "connection")}, ${count("reserved")} reserved`));
      squares.push(shape);
    }
    const lines = Math.ceil(squares.length / columns);
    setAttribute(this.map, "viewBox", `0 0 ${columns * size} ${lines * size}`);
    this.map.style.maxWidth = `${columns * size}px`;
    this.map.replaceChildren(...squares);
    if (each > 1) this.map.prepend(drawing("desc", {}, `Each square stands for ${each} ports`));
  }
}

function owners(port) {
  const named = port.owners.map((owner) =>
    owner.session === null ? `${owner.client} (a backend server)` : `${owner.client} (session ${owner.session})`);
  const more = port.active + port.reserved - named.length;
  return named.join(", ") + (more > 0 ? ` and ${more} more` : "");
}
