// The page: listens to the stream of pictures while it is seen, and shows each.

import { Admin } from "./admin.js";
import { actColumn, Acts } from "./acts.js";
import { Figures } from "./figures.js";
import { ago, count, say } from "./format.js";
import { Letters, showEvents } from "./lists.js";
import { Rows, SHARD_COLUMNS, WORKER_COLUMNS } from "./tables.js";

const at = (id) => document.getElementById(id);
const OLD_MS = 8000;
const LETTERS_MS = 60000;
const LETTERS_SETTLE_MS = 7000;

const admin = new Admin();
const acts = new Acts(admin);
const shardColumns = [...SHARD_COLUMNS, actColumn((shard) => acts.choose("shard", { shard: shard.shard }, shard, shard.shard))];
const workerColumns = [...WORKER_COLUMNS, actColumn((worker) => acts.choose("worker", { worker: worker.worker }, worker, worker.name || worker.worker))];
const figures = new Figures(at("figures"));
const shards = new Rows(at("shards"), shardColumns, (shard) => shard.shard);
const finished = new Rows(at("finished").querySelector("table"), SHARD_COLUMNS, (shard) => shard.shard);
const workers = new Rows(at("workers"), workerColumns, (worker) => worker.worker);
const letters = new Letters(at("letters"), at("letter-tally"), admin);

let source = null;
let heard = 0;
let buried = null;
let lettersDue = 0;
let settledAt = 0;
let application = "headrace";

function listen() {
  if (source || document.hidden) return;
  source = new EventSource("api/v1/stream");
  source.addEventListener("fleet", (event) => show(JSON.parse(event.data)));
  source.addEventListener("history", (event) => figures.learn(JSON.parse(event.data)));
  source.addEventListener("events", (event) => showEvents(at("events"), at("event-tally"), JSON.parse(event.data)));
}

function rest() {
  source?.close();
  source = null;
  live("paused", "paused");
}

function show(fleet) {
  heard = performance.now();
  live("live", "live");
  showVerdict(fleet);
  figures.show(fleet.figures);
  showShards(fleet);
  workers.show(fleet.workers, fleet.at);
  const alive = fleet.workers.filter((worker) => worker.alive).length;
  say(at("worker-tally"), alive === 1 ? "1 lives" : `${count(alive)} live`);
  refreshLetters(fleet.figures.buried);
}

function showVerdict({ verdict, at: now, problem }) {
  at("verdict").dataset.state = verdict.state;
  say(at("verdict-word"), verdict.state);
  say(at("verdict-why"), verdict.why);
  say(at("verdict-todo"), verdict.todo);
  say(at("verdict-since"), verdict.since ? `since ${ago(verdict.since, now)}`.replace("since now", "just now").replace(/ ago$/, "").replace(/^since/, "for") : "");
  at("verdict-since").title = verdict.since ?? "";
  say(at("problem"), problem);
  at("problem").hidden = !problem;
  document.title = `${verdict.state} · ${application}`;
}

function showShards(fleet) {
  const open = fleet.shards.filter((shard) => !shard.finished);
  const closed = fleet.shards.filter((shard) => shard.finished);
  shards.show(open.map((shard) => ({ ...shard, depth: depthAmong(shard, open) })), fleet.at);
  at("finished").hidden = !closed.length;
  say(at("finished").querySelector("summary"), `${count(closed.length)} finished, read to the end`);
  finished.show(closed, fleet.at);
  const states = Object.entries(fleet.shards_by_state).filter(([, number]) => number);
  say(at("shard-tally"), states.map(([state, number]) => `${count(number)} ${state}`).join(", "));
}

// Indented only below what is shown: a child of a finished shard stands at the left.
function depthAmong(shard, shown) {
  return shown.some((other) => shard.parents.includes(other.shard)) ? shard.depth : 0;
}

// Read again when one was buried, once more when no server can have an older answer at hand, and now and then anyway.
function refreshLetters(count) {
  const now = performance.now();
  if (count !== buried) {
    buried = count;
    lettersDue = now;
    settledAt = now + LETTERS_SETTLE_MS;
  }
  if (now < lettersDue) return;
  lettersDue = now < settledAt ? settledAt : now + LETTERS_MS;
  letters.load().catch(() => letters.nothing("They could not be read just now."));
}

function live(is, text) {
  at("live").dataset.is = is;
  say(at("live"), text);
}

function watch() {
  const silent = performance.now() - heard;
  const isOld = source !== null && heard > 0 && silent > OLD_MS;
  document.body.classList.toggle("is-old", isOld);
  if (isOld) live("lost", `no answer for ${Math.round(silent / 1000)} s`);
  if (source?.readyState === EventSource.CLOSED) { source = null; listen(); }
}

async function begin() {
  document.addEventListener("visibilitychange", () => (document.hidden ? rest() : listen()));
  setInterval(watch, 1000);
  listen();
  const about = await (await fetch("api/v1/about")).json();
  application = about.application;
  say(at("application"), about.application);
  say(at("stream"), about.stream === about.application ? "" : about.stream);
  say(at("version"), about.version);
  admin.learn(about);
  acts.learn(about);
}

begin();
