// Decisions as they happen: filtered by the service, newest first, never more rows than one can read.

import { get } from "./api.js";
import { showDecision } from "./details.js";
import { byId, count, el, empty, moment, result } from "./dom.js";
import { stay } from "./place.js";

const MOST_ROWS = 300;
const ANNOUNCE_MS = 10_000;
const TYPING_MS = 300;
const FIELDS = ["gateway", "result", "reason"];

let built = false;
let filter = {};
let last = 0;
let started = null;
let asked = 0;
let typing = null;
const told = { at: 0, all: 0, denied: 0 };

function build(panel) {
  built = true;
  const later = () => {
    clearTimeout(typing);
    typing = setTimeout(change, TYPING_MS);
  };
  panel.append(
    el("form", { class: "filters", id: "filters", role: "search", "aria-label": "Filter decisions", onsubmit: (event) => event.preventDefault() },
      el("label", { class: "field" }, "Result", el("select", { name: "result", onchange: change },
        [["", "all"], ["denied", "denied or shadow"], ["allow", "allowed"], ["deny", "denied"], ["shadow", "shadow"]].map(([value, text]) => el("option", { value }, text)))),
      el("label", { class: "field" }, "Gateway", el("input", { name: "gateway", list: "known-gateways", autocomplete: "off", spellcheck: "false", placeholder: "any", oninput: later })),
      el("label", { class: "field wide" }, "Reason", el("input", { name: "reason", list: "known-reasons", autocomplete: "off", spellcheck: "false", placeholder: "any; its beginning is enough", oninput: later })),
      el("button", { type: "button", onclick: clear }, "Clear"),
      el("datalist", { id: "known-gateways" }), el("datalist", { id: "known-reasons" })),
    el("p", { class: "note", id: "missed", hidden: true }, "More came than are shown here; the decision log has all of them."),
    el("div", { class: "table-frame" }, el("table", { class: "decisions" },
      el("caption", { class: "unseen" }, "Decisions, newest first"),
      el("thead", {}, el("tr", {}, ["Time", "Result", "Gateway", "User", "Peer", "Request", "Reason"].map((name) => el("th", { scope: "col" }, name)))),
      el("tbody", { id: "rows" }))),
    el("div", { id: "no-rows" }),
  );
  suggest().catch(() => {}); // without suggestions the fields work as well
}

async function suggest() {
  const options = (texts) => texts.map((text) => el("option", { value: text }));
  byId("known-gateways").replaceChildren(...options((await get("gateways")).gateways.map(({ id }) => id)));
  byId("known-reasons").replaceChildren(...options((await get("reasons")).map(({ code }) => code)));
}

function change() {
  filter = Object.fromEntries(new FormData(byId("filters")));
  stay("decisions", filter);
  restart();
  decisions.refresh().catch(() => {}); // the next look at the service tells of it
}

function clear() {
  byId("filters").reset();
  change();
}

function restart() {
  last = 0;
  asked += 1;
  byId("rows").replaceChildren();
}

function row(line, isNew) {
  const open = () => showDecision(line);
  const cell = (name, ...children) => el("td", { "data-name": name }, ...children);
  return el("tr", { class: isNew ? "new" : null, onclick: (event) => event.target.closest("button") ?? open() },
    cell("Time", el("button", { type: "button", class: "row-open", "aria-label": `Details of the decision ${line.id}`, onclick: open }, moment(new Date(line.time)))),
    cell("Result", result(line.result)),
    cell("Gateway", line.gateway ?? el("span", { class: "muted" }, "none")),
    cell("User", el("span", { title: line.user }, line.user ?? el("span", { class: "muted" }, "–"))),
    cell("Peer", line.peer ?? el("span", { class: "muted" }, "–")),
    cell("Request", el("code", { title: `${line.method} ${line.host}${line.path}` }, el("span", { class: "method" }, line.method), ` ${line.host}${line.path}`)),
    cell("Reason", line.reason ? el("code", { title: line.reason }, line.reason) : "", line.limited && el("span", { class: "tag" }, "limited")));
}

/** Tell those who do not see the rows, now and then. */
function announce(lines) {
  told.all += lines.length;
  told.denied += lines.filter((line) => line.result !== "allow").length;
  if (!told.all || Date.now() - told.at < ANNOUNCE_MS) return;
  byId("announce").textContent = `${count(told.all, "new decision")}, ${told.denied} denied or shadow.`;
  Object.assign(told, { at: Date.now(), all: 0, denied: 0 });
}

export const decisions = {
  every: 1_000,
  open(panel, fields) {
    if (!built) build(panel);
    const wanted = Object.fromEntries(FIELDS.map((name) => [name, fields[name] ?? ""]));
    for (const name of FIELDS) byId("filters").elements[name].value = wanted[name];
    if (FIELDS.some((name) => wanted[name] !== (filter[name] ?? ""))) restart();
    filter = wanted;
  },
  async refresh() {
    const mine = asked;
    const given = await get("decisions", { ...filter, after: last });
    if (mine !== asked) return; // the filter changed meanwhile
    const rows = byId("rows");
    if (started !== null && given.started !== started) {
      started = given.started; // another process: its numbers begin anew
      restart();
      return;
    }
    started = given.started;
    if (last) announce(given.decisions);
    rows.prepend(...given.decisions.map((line) => row(line, last > 0)));
    while (rows.childElementCount > MOST_ROWS) rows.lastElementChild.remove();
    byId("missed").hidden = !(given.missed && last);
    last = given.last;
    const filtered = Object.values(filter).some(Boolean);
    byId("no-rows").replaceChildren(...(rows.childElementCount ? [] : [filtered
      ? empty("No decision of late is like this.", "Clear the filter to see the others; they are shown as they happen.")
      : empty("Nothing was decided yet.", "Decisions appear here as soon as a proxy asks. If yours does and nothing appears, see whether it asks at the address under Service.")]));
  },
};
