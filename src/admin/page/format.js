// Values with units. Numbers come from the gateway, texts are its escaped ones.

const UNITS = ["KiB", "MiB", "GiB", "TiB", "PiB"];

function bytes(count) {
  if (count < 1024) return `${Math.round(count)} B`;
  let unit = -1;
  let value = count;
  while (value >= 1024 && unit + 1 < UNITS.length) {
    value /= 1024;
    unit += 1;
  }
  return `${value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0)} ${UNITS[unit]}`;
}

function rate(count) {
  return `${bytes(count)}/s`;
}

// On one line.
function unbroken(text) {
  return text.replaceAll(" ", "\u00a0");
}

// The two largest units.
function duration(seconds) {
  let rest = Math.max(0, Math.floor(seconds));
  const parts = [];
  for (const [name, length] of [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]]) {
    const count = Math.floor(rest / length);
    rest %= length;
    if (count > 0 || (name === "s" && parts.length === 0)) parts.push(`${count} ${name}`);
    if (parts.length === 2 || (parts.length === 1 && count === 0)) break;
  }
  return parts.join(" ");
}

// In the time zone of the browser; the date where it is not today's.
function clock(time) {
  const at = new Date(time);
  const text = at.toLocaleTimeString("en-GB");
  return at.toDateString() === new Date().toDateString() ? text : `${day(time)} ${text}`;
}

function day(time) {
  const at = new Date(time);
  const two = (number) => String(number).padStart(2, "0");
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
}

// 0 only where there is nothing, 100 only where all is used.
function percent(part) {
  const rounded = Math.round(part * 100);
  if (part > 0 && rounded === 0) return "under 1 %";
  return part < 1 && rounded === 100 ? "over 99 %" : `${rounded} %`;
}

function plural(count, one, many = `${one}s`) {
  return `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
}
