// Bytes a second of the last ten minutes: uploads as a solid line, downloads as an area with a dashed one.

const CHART = { width: 600, height: 120, seconds: 600 };

class Chart {
  constructor(place) {
    const { width, height } = CHART;
    this.area = drawing("path", { class: "down-area" });
    this.down = drawing("path", { class: "down" });
    this.up = drawing("path", { class: "up" });
    const lines = [0.25, 0.5, 0.75].map((part) =>
      drawing("line", { class: "grid", x1: 0, x2: width, y1: height * part, y2: height * part }),
    );
    this.picture = drawing(
      "svg",
      { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", role: "img", class: "chart" },
      ...lines, this.area, this.down, this.up,
    );
    this.top = element("span", { class: "num" });
    const axis = ["10 min ago", "5 min", "now"].map((text) => element("span", {}, text));
    this.values = {};
    const legend = ["up", "down"].map((name) => {
      const value = (this.values[name] = element("strong", { class: "num" }));
      const peak = (this.values[`${name}-peak`] = element("span", { class: "muted num" }));
      const sign = drawing("svg", { viewBox: "0 0 24 8", "aria-hidden": "true", class: "sign" },
        drawing("path", { d: "M0 4H24", class: name }));
      return element("li", {}, sign, name === "up" ? "Up " : "Down ", value, peak);
    });
    place.replaceChildren(
      element("ul", { class: "legend values" }, ...legend),
      element("div", { class: "plot" }, element("div", { class: "top-of-axis", "aria-hidden": "true" }, this.top), this.picture),
      element("div", { class: "axis", "aria-hidden": "true" }, ...axis),
    );
  }

  update({ upload, download }) {
    const most = (values) => values.reduce((a, b) => Math.max(a, b), 0);
    const last = (values) => values.slice(-5).reduce((a, b) => a + b, 0) / Math.max(1, Math.min(5, values.length));
    const top = rounded(Math.max(most(upload), most(download)));
    setText(this.top, rate(top));
    const [up, down] = [path(upload, top), path(download, top)];
    setAttribute(this.up, "d", up);
    setAttribute(this.down, "d", down);
    const start = CHART.width - ((download.length - 1) * CHART.width) / (CHART.seconds - 1);
    setAttribute(this.area, "d", down && `${down}V${CHART.height}H${start.toFixed(1)}Z`);
    const texts = { up: last(upload), down: last(download), "up-peak": most(upload), "down-peak": most(download) };
    for (const [name, value] of Object.entries(texts)) {
      setText(this.values[name], name.endsWith("peak") ? ` peak ${rate(value)}` : rate(value));
    }
    setAttribute(this.picture, "aria-label",
      `Throughput of the last ten minutes: up ${rate(texts.up)} now, ${rate(texts["up-peak"])} at most; ` +
      `down ${rate(texts.down)} now, ${rate(texts["down-peak"])} at most`);
  }
}

// The end of the axis: 1, 2 or 5 times a power of ten of a unit.
function rounded(most) {
  let unit = 1024;
  while (most > unit * 1000) unit *= 1024;
  for (let power = 1; ; power *= 10) {
    for (const step of [1, 2, 5]) {
      if (most <= step * power * unit) return step * power * unit;
    }
  }
}

function path(values, top) {
  const { width, height, seconds } = CHART;
  const points = values.map((value, index) => {
    const x = width - ((values.length - 1 - index) * width) / (seconds - 1);
    return `${x.toFixed(1)} ${(height - (value / top) * (height - 4) - 1).toFixed(1)}`;
  });
  return points.length ? `M${points.join("L")}` : "";
}
