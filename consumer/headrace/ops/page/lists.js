// Events, and dead letters that open on a click. A payload is asked for one by one, with the admin token.

import { ago, clock, count, el, say, short, words } from "./format.js";

const GRAVE = new Set(["shard_stalled", "loss_found", "worker_fenced", "peer_fenced", "lease_lost"]);

export function showEvents(place, tally, events) {
  say(tally, events.length ? `last ${count(events.length)}` : "");
  place.replaceChildren(...(events.length ? events.map(eventRow) : [el("li", { class: "empty" }, "Nothing happened yet.")]));
}

function eventRow(event) {
  const where = [event.shard ? short(event.shard) : "", event.worker, event.text].filter(Boolean).join(" · ");
  return el("li", {}, el("time", { datetime: event.at, title: event.at }, clock(event.at)),
    el("span", {}, el("span", { "data-grave": GRAVE.has(event.event) ? "yes" : "no" }, words(event.event)), " ",
      el("span", { class: "what-of" }, where)));
}

export class Letters {
  constructor(place, tally, admin) {
    Object.assign(this, { place, tally, admin, items: new Map() });
    this.asked = null;
  }

  async load() {
    const answer = await fetch("api/v1/dead-letters");
    const found = await answer.json();
    if (!answer.ok) return this.nothing(found.error);
    if (found.instead) return this.nothing(found.instead);
    say(this.tally, found.letters.length ? tallyOf(found) : "");
    if (!found.letters.length) return this.nothing("None. Every record was settled.");
    const keys = new Set(found.letters.map(keyOf));
    for (const [key, item] of this.items) if (!keys.has(key)) { item.remove(); this.items.delete(key); }
    const now = new Date().toISOString();
    this.place.replaceChildren(...found.letters.map((letter) => this.itemOf(letter, now)));
  }

  nothing(text) {
    this.items.clear();
    this.place.replaceChildren(el("li", { class: "empty" }, text));
  }

  itemOf(letter, now) {
    const key = keyOf(letter);
    if (!this.items.has(key)) this.items.set(key, this.item(letter, now));
    const item = this.items.get(key);
    say(item.querySelector("time"), ago(letter.buried, now));
    return item;
  }

  item(letter, now) {
    const inside = el("div", { class: "inside" });
    const when = el("time", { datetime: letter.buried, title: letter.buried }, ago(letter.buried, now));
    const row = el("details", {}, el("summary", {},
      el("b", {}, `${letter.reason} · ${letter.error}`), when,
      el("span", { class: "sub" }, `shard ${short(letter.shard)} · …${letter.sequence_number.slice(-8)} · key ${letter.partition_key || "none"} · ${letter.attempts} ${letter.attempts === 1 ? "attempt" : "attempts"}`),
      el("span", { class: "open-it" }, "open")), inside);
    row.addEventListener("toggle", () => { if (row.open && !inside.firstChild) this.open(letter, inside); });
    return el("li", { "data-sequence": letter.sequence_number }, row);
  }

  async open(letter, inside) {
    inside.replaceChildren(facts(letter), ...this.ways(letter, inside));
  }

  ways(letter, inside) {
    if (!this.admin.possible) {
      return [el("p", { class: "sub" }, "Payload and message are not shown: this page is read-only. On the command line:"),
        el("pre", {}, `headrace dead-letters show ${letter.sequence_number} --payload`)];
    }
    const button = el("button", { type: "button", class: "quiet", "data-way": "payload" }, "Show payload");
    button.addEventListener("click", () => this.reveal(letter, inside));
    return [el("p", { class: "row" }, button)];
  }

  async reveal(letter, inside) {
    const whole = await this.admin.get(`api/v1/dead-letters/${encodeURIComponent(letter.shard)}/${encodeURIComponent(letter.position)}`);
    if (whole === null) return;
    if (whole.error && !("payload" in whole)) return inside.append(el("p", { class: "problem" }, whole.error));
    const note = whole.encoding === "base64" ? "Payload, in base64" : "Payload";
    const discard = el("button", { type: "button", class: "quiet", "data-way": "discard" }, "Discard…");
    discard.addEventListener("click", () => this.discard(letter));
    inside.replaceChildren(facts(letter), el("p", { class: "sub" }, whole.message), el("p", { class: "sub" }, note),
      el("pre", { class: "payload" }, whole.payload),
      ...(whole.traceback ? [el("p", { class: "sub" }, "Raised at"), el("pre", {}, whole.traceback)] : []),
      el("p", { class: "row" }, discard));
  }

  async discard(letter) {
    const done = await this.admin.act("discard-letter", { shard: letter.shard, position: letter.position });
    if (done) await this.load();
  }
}

function keyOf(letter) {
  return `${letter.shard}/${letter.position}`;
}

function tallyOf(found) {
  if (!found.complete) return `newest of the first ${count(found.seen)}`;
  return found.seen > found.letters.length ? `newest ${found.letters.length} of ${count(found.seen)}` : count(found.seen);
}

function facts(letter) {
  const pairs = [["Sequence number", letter.sequence_number], ["Shard", letter.shard], ["Partition key", letter.partition_key || "none"],
    ["Arrived", letter.arrived], ["Buried", letter.buried], ["Reason", letter.reason], ["Error", letter.error],
    ["Attempts", String(letter.attempts)], ["Payload", `${count(letter.bytes)} bytes`]];
  return el("dl", {}, ...pairs.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value ?? "–")]));
}
