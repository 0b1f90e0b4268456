// What an operator may do to a shard, to all of them, or to a worker: chosen here, previewed and confirmed in admin.js.

import { el, say } from "./format.js";

const at = (id) => document.getElementById(id);

const PLACE = "To: trim, latest, an instant, how long ago like 90m, or a sequence number";

const ACTS = {
  shard: [
    { name: "pause", title: "Pause: nobody reads it" },
    { name: "resume", title: "Resume" },
    { name: "seek", title: "Seek: read from another place on", field: "to", what: PLACE },
    { name: "move", title: "Move to a worker", field: "to", what: "Worker: its id, the beginning of it, or its name" },
    { name: "skip", title: "Skip one record into the dead letters", field: "record", what: "Sequence number", first: (target) => target.held_by ?? "" },
  ],
  all: [
    { name: "pause", title: "Pause everything" },
    { name: "resume", title: "Resume everything" },
    { name: "seek", title: "Seek all shards", field: "to", what: PLACE },
  ],
  worker: [
    { name: "drain", title: "Drain: it gives its leases up and takes none" },
    { name: "undrain", title: "Let it take leases again" },
  ],
};

export class Acts {
  constructor(admin) {
    this.admin = admin;
    this.known = new Set();
    at("choice-act").addEventListener("change", () => this.ask());
    at("act-on-all").addEventListener("click", () => this.choose("all", {}, {}, "All shards"));
  }

  learn(about) {
    this.known = new Set(about.actions);
    document.body.classList.toggle("may-act", about.admin && this.known.has("seek"));
  }

  async choose(kind, args, target, title) {
    this.offered = ACTS[kind].filter((act) => this.known.has(act.name));
    this.target = target;
    say(at("choice-target"), title);
    at("choice-act").replaceChildren(...this.offered.map((act) => el("option", { value: act.name }, act.title)));
    this.ask();
    at("choice-dialog").returnValue = "cancel";
    at("choice-dialog").showModal();
    await new Promise((resolve) => at("choice-dialog").addEventListener("close", resolve, { once: true }));
    if (at("choice-dialog").returnValue !== "ok") return;
    const act = this.chosen();
    await this.admin.act(act.name, { ...args, ...(act.field ? { [act.field]: at("choice-value").value } : {}) });
  }

  chosen() {
    return this.offered.find((act) => act.name === at("choice-act").value) ?? this.offered[0];
  }

  ask() {
    const act = this.chosen();
    at("choice-label").hidden = !act.field;
    say(at("choice-what"), act.what ?? "");
    at("choice-value").value = act.first?.(this.target) ?? "";
  }
}

// A column with a button; `open` is called with what the row shows by then.
export function actColumn(open) {
  return { name: "", kind: "of-act num", fill: (cell, item) => {
    cell.item = item;
    if (cell.firstChild) return;
    const button = el("button", { type: "button", class: "quiet act", "aria-label": "Act" }, "⋯");
    button.addEventListener("click", () => open(cell.item));
    cell.append(button);
  } };
}
