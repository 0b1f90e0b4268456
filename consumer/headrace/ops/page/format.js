// Numbers and spans as a person reads them, and elements out of text alone: nothing here ever parses HTML.

export function span(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 0.05) return "0 s";
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  const units = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const whole = Math.round(seconds);
  const at = units.findIndex(([size]) => whole >= size);
  const [size, name] = units[at];
  const rest = at + 1 < units.length ? Math.floor((whole % size) / units[at + 1][0]) : 0;
  return `${Math.floor(whole / size)} ${name}${rest ? ` ${rest} ${units[at + 1][1]}` : ""}`;
}

export function count(number) {
  if (number === null || number === undefined) return "–";
  if (number >= 1e6) return `${(number / 1e6).toFixed(2)} M`;
  return Math.round(number).toLocaleString("en-US");
}

export function rate(number) {
  if (number === null || number === undefined) return "–";
  return number === 0 || number >= 10 ? count(number) : number.toFixed(1);
}

export function ago(iso, nowIso) {
  if (!iso) return "–";
  const seconds = Math.max(0, (Date.parse(nowIso) - Date.parse(iso)) / 1000);
  return seconds < 1 ? "now" : `${span(Math.round(seconds)).replace(/\.0 s$/, " s")} ago`;
}

export function heard(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  return seconds < 1 ? "now" : `${span(seconds)} ago`;
}

export function clock(iso) {
  const at = new Date(iso);
  const time = at.toLocaleTimeString("en-GB");
  return at.toDateString() === new Date().toDateString() ? time : `${at.getDate()}.${at.getMonth() + 1}. ${time.slice(0, 5)}`;
}

export function short(shard) {
  return shard.replace(/^shardId-0*(?=\d)/, "");
}

export function words(name) {
  return name.replaceAll("_", " ");
}

export function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
