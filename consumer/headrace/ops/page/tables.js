// Tables whose rows stay the same elements from one picture to the next, so that nothing flickers and focus stays.

import { ago, count, el, heard, rate, say, short, span } from "./format.js";

export class Rows {
  constructor(table, columns, keyOf) {
    this.body = table.tBodies[0];
    this.columns = columns;
    this.keyOf = keyOf;
    this.rows = new Map();
    this.sorted = null;
    this.headers = columns.map((column, at) => this.header(table.tHead.rows[0], column, at));
  }

  header(row, column, at) {
    const content = column.by ? el("button", { type: "button" }, column.name) : column.name;
    const cell = el("th", { scope: "col", class: [column.num ? "num" : "", column.kind?.includes("of-act") ? "of-act" : ""].join(" ").trim() || null }, content);
    if (column.by) content.addEventListener("click", () => this.sortBy(at));
    row.append(cell);
    return cell;
  }

  sortBy(at) {
    const order = this.sorted?.at !== at ? "descending" : this.sorted.order === "descending" ? "ascending" : null;
    this.sorted = order ? { at, order } : null;
    this.headers.forEach((cell, index) => (index === at && order ? cell.setAttribute("aria-sort", order) : cell.removeAttribute("aria-sort")));
    if (this.last) this.show(...this.last);
  }

  show(items, context) {
    this.last = [items, context];
    const wanted = this.inOrder(items);
    const keys = new Set(wanted.map(this.keyOf));
    for (const [key, row] of this.rows) if (!keys.has(key)) { row.remove(); this.rows.delete(key); }
    wanted.forEach((item, at) => {
      const row = this.rowOf(this.keyOf(item));
      this.columns.forEach((column, index) => column.fill(row.cells[index], item, context));
      if (this.body.rows[at] !== row) this.body.insertBefore(row, this.body.rows[at] ?? null);
    });
  }

  inOrder(items) {
    if (!this.sorted) return items;
    const { by } = this.columns[this.sorted.at];
    const sign = this.sorted.order === "descending" ? -1 : 1;
    return [...items].sort((one, other) => sign * (by(one) - by(other)));
  }

  rowOf(key) {
    if (!this.rows.has(key)) {
      const cells = this.columns.map((c) => el("td", { class: [c.num ? "num" : "", c.kind ?? ""].join(" ").trim() || null, "data-name": c.label ?? null }));
      this.rows.set(key, el("tr", {}, ...cells));
    }
    return this.rows.get(key);
  }
}

const plain = (text) => (cell, item, context) => say(cell, text(item, context));

const BADNESS = ["OK", "LAGGING", "UNOWNED", "STALLED", "LOSING DATA"];

export const SHARD_COLUMNS = [
  { name: "State", by: (s) => BADNESS.indexOf(s.state), fill: (cell, shard) => word(cell, ...shardState(shard)) },
  { name: "Shard", kind: "id first", fill: fillShard },
  { name: "Owner", kind: "id", label: "owner", fill: (cell, shard) => { say(cell, shard.owner_name || shard.owner || "nobody"); cell.title = shard.owner ?? ""; } },
  { name: "Lag", num: true, label: "lag", by: (s) => s.lag_s ?? -1, fill: plain((s) => span(s.lag_s)) },
  { name: "Last progress", num: true, label: "progress", by: (s) => s.since_progress_s ?? -1, fill: plain((s) => heard(s.since_progress_s)) },
  { name: "Settled up to", num: true, kind: "detail", label: "settled up to", fill: (cell, s, at) => { say(cell, ago(s.settled_up_to, at)); cell.title = s.settled_up_to ?? ""; } },
  { name: "Open", num: true, kind: "detail", label: "open", by: (s) => s.open ?? -1, fill: plain((s) => count(s.open)) },
  { name: "Retrying", num: true, kind: "detail", label: "retrying", by: (s) => s.retrying ?? -1, fill: plain((s) => count(s.retrying)) },
  { name: "Epoch", num: true, kind: "detail", label: "epoch", fill: plain((s) => count(s.epoch)) },
];

function word(cell, state, text) {
  const chip = cell.firstElementChild ?? cell.appendChild(el("span", { class: "word" }));
  chip.dataset.state = state;
  say(chip, text);
}

function shardState(shard) {
  if (shard.finished) return ["none", "FINISHED"];
  return shard.paused && shard.state === "OK" ? ["none", "PAUSED"] : [shard.state, shard.state];
}

function fillShard(cell, shard) {
  if (!cell.firstChild) cell.append(el("span", { class: "lineage" }), el("span", { class: "mono" }), el("span", { class: "reason" }));
  const [lineage, id, reason] = cell.children;
  cell.parentElement.dataset.state = shard.finished ? "none" : shard.state;
  say(lineage, shard.depth ? `${" ".repeat(2 * (shard.depth - 1))}└` : "");
  say(id, shard.shard);
  say(reason, reasonOf(shard));
}

function reasonOf(shard) {
  const family = shard.children.length ? `Its records go on in ${shard.children.map(short).join(" and ")}.` : "";
  if (shard.finished) return family;
  const says = shard.state === "OK" && shard.why === "Up to date." ? "" : shard.why;
  const from = shard.parents.length ? `From ${shard.parents.map(short).join(" and ")}.` : "";
  return [says, from].filter(Boolean).join(" ");
}

export const WORKER_COLUMNS = [
  { name: "Worker", kind: "id first", fill: (cell, w) => { say(cell, w.name || w.worker); cell.title = w.worker; } },
  { name: "State", fill: (cell, w) => word(cell, ...workerState(w)) },
  { name: "Shards", num: true, label: "shards", by: (w) => w.held, fill: plain((w) => (w.maximum ? `${w.held} of ${w.maximum}` : count(w.held))) },
  { name: "In", num: true, label: "in", by: (w) => w.read_per_s ?? -1, fill: plain((w) => perSecond(w.read_per_s)) },
  { name: "Out", num: true, label: "out", by: (w) => w.settled_per_s ?? -1, fill: plain((w) => perSecond(w.settled_per_s)) },
  { name: "Failures", num: true, label: "failures", by: (w) => w.failed_per_s ?? -1, fill: plain((w) => perSecond(w.failed_per_s)) },
  { name: "CPU", num: true, label: "CPU", by: (w) => w.processors ?? -1, fill: plain((w) => (w.processors === null ? "–" : `${Math.round(100 * w.processors)} %`)) },
  { name: "Up", num: true, label: "up", by: (w) => w.up_s ?? -1, fill: plain((w) => (w.alive ? span(w.up_s) : "–")) },
  { name: "Version", num: true, label: "version", fill: plain((w) => [w.version, w.deployment !== w.version ? w.deployment : ""].filter(Boolean).join(" ") || "–") },
  { name: "Heard", num: true, label: "heard", fill: plain((w) => heard(w.silent_s)) },
];

function perSecond(number) {
  return number === null ? "–" : `${rate(number)} /s`;
}

function workerState(worker) {
  if (worker.alive && worker.silent_s > 15) return ["UNOWNED", "SILENT"];
  if (worker.alive && worker.drained_by) return ["none", "DRAINED"];
  if (worker.stalled) return ["STALLED", "STALLED"];
  return { live: ["OK", "LIVE"], leaving: ["LAGGING", "LEAVING"], fenced: ["LOSING DATA", "FENCED"], left: ["none", "LEFT"] }[worker.state] ?? ["none", worker.state];
}
