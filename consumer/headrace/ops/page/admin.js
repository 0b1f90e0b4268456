// The admin token, kept in this tab's memory, and what it allows: a preview first, then the typed word, then the action.

import { say } from "./format.js";

const at = (id) => document.getElementById(id);

export class Admin {
  constructor() {
    this.possible = false;
    this.token = "";
    at("admin").addEventListener("click", () => this.ask());
  }

  learn(about) {
    this.possible = about.admin;
    at("admin").hidden = !about.admin;
  }

  async ask() {
    at("token").value = "";
    if ((await answered(at("token-dialog"))) !== "ok") return false;
    this.token = at("token").value;
    say(at("admin"), this.token ? "Admin: token set" : "Admin");
    return this.token !== "";
  }

  async get(path) {
    return this.send(path, {});
  }

  async act(name, args) {
    const path = `api/v1/actions/${name}`;
    const preview = await this.send(path, { method: "POST", body: JSON.stringify({ arguments: args }) });
    if (preview === null) return false;
    if (preview.error) return this.tell(preview.error);
    say(at("action-says"), preview.says);
    say(at("action-word"), preview.confirm);
    at("action-confirm").value = at("action-reason").value = "";
    if ((await answered(at("action-dialog"))) !== "ok") return false;
    const body = { arguments: args, confirm: at("action-confirm").value, reason: at("action-reason").value };
    const done = await this.send(path, { method: "POST", body: JSON.stringify(body) });
    return done?.error ? this.tell(done.error) : done !== null;
  }

  tell(problem) {
    say(at("problem"), problem);
    at("problem").hidden = false;
    return false;
  }

  // The answer as an object, with `error` where it was refused; null where no token was given.
  async send(path, options) {
    if (!this.token && !(await this.ask())) return null;
    const headers = { Authorization: `Bearer ${this.token}`, ...(options.body ? { "Content-Type": "application/json" } : {}) };
    const answer = await fetch(path, { ...options, headers });
    if (answer.status === 401) {
      this.token = "";
      say(at("admin"), "Admin");
    }
    return answer.json();
  }
}

function answered(dialog) {
  dialog.returnValue = "cancel";
  dialog.showModal();
  return new Promise((resolve) => dialog.addEventListener("close", () => resolve(dialog.returnValue), { once: true }));
}
