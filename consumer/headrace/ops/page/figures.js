// The six figures: each a name, a number, a note, and its last hour.

import { count, el, rate, say, span } from "./format.js";
import { sparkline } from "./sparkline.js";

const FIGURES = [
  { name: "Worst lag", number: (f) => span(f.worst_lag_s), note: catchUp, series: (h) => [h.lag_s], peak: span },
  { name: "Records in and out", number: (f) => rate(f.settled_per_s), unit: "/s out", note: inAndOut, series: (h) => [done(h, h.settled), done(h, h.read)], peak: (top) => `${rate(top)} /s` },
  { name: "Handler failures", number: (f) => rate(f.failed_per_s), unit: "/s", alarm: (f) => f.failed_per_s > 0, note: (f, h) => `${count(sum(h.failed))} in the last hour`, series: (h) => [done(h, h.failed)], peak: (top) => `${rate(top)} /s` },
  { name: "In retry now", number: (f) => count(f.retrying), note: (f) => (f.retrying ? "their keys wait" : "nobody waits"), series: (h) => [h.retrying], peak: count },
  { name: "Dead letters", number: buried, note: () => "in the last hour", alarm: (f, h) => buried(f, h) !== "0", series: (h) => [done(h, h.buried)], peak: (top, step) => `${count(top * step)} in ${step} s` },
  { name: "Unowned shards", number: (f) => count(f.unowned), note: (f) => (f.unowned ? "nobody reads them" : "each has an owner"), alarm: (f) => f.unowned > 0, series: (h) => [h.unowned], peak: count },
];

const NOTHING = { step_s: 30, lag_s: [], read: [], settled: [], failed: [], retrying: [], buried: [], unowned: [] };

export class Figures {
  constructor(place) {
    this.history = NOTHING;
    this.figures = { worst_lag_s: 0, retrying: 0, unowned: 0 };
    this.tiles = FIGURES.map((figure) => {
      const number = el("span");
      const unit = el("small", {}, figure.unit ?? "");
      const note = el("p", { class: "note" });
      const peak = el("p", { class: "peak" });
      const line = sparkline();
      const tile = el("article", { class: "figure" }, el("h3", {}, figure.name),
        el("p", { class: "number" }, number, unit), note, line.drawing, peak);
      place.append(tile);
      return { figure, tile, number, note, peak, line };
    });
  }

  learn(history) {
    this.history = history;
    this.draw();
  }

  draw() {
    const { history, figures } = this;
    for (const [series, now] of [["lag_s", figures.worst_lag_s], ["retrying", figures.retrying], ["unowned", figures.unowned]]) {
      const points = history[series];
      if (points.length) points[points.length - 1] = Math.max(points[points.length - 1], now);
    }
    for (const { figure, line, peak } of this.tiles) {
      const series = figure.series(history);
      const top = Math.max(0, ...series.flat());
      line.draw(...series);
      say(peak, top ? `peak ${figure.peak(top, history.step_s)}` : "");
    }
  }

  show(figures) {
    this.figures = figures;
    this.draw();
    for (const { figure, tile, number, note } of this.tiles) {
      say(number, figure.number(figures, this.history));
      say(note, figure.note ? figure.note(figures, this.history) : "");
      tile.dataset.alarm = figure.alarm?.(figures, this.history) ? "yes" : "no";
    }
  }
}

// Counts as a rate; the step that is not over yet would look like a fall.
function done(history, counts) {
  return counts.slice(0, -1).map((number) => number / history.step_s);
}

// What living workers tell is newer; the history knows those that are gone as well.
function buried(figures, history) {
  return count(Math.max(figures.buried, sum(history.buried)));
}

function sum(values) {
  return values.reduce((all, value) => all + value, 0);
}

function catchUp(figures) {
  if (figures.catch_up_s === 0) return "keeping up";
  return figures.catch_up_s === null ? "not shrinking" : `caught up in ${span(Math.max(1, figures.catch_up_s))}`;
}

function inAndOut(figures) {
  return `${rate(figures.read_per_s)} /s in`;
}
