// One decision, whole, in a drawer; from there to its explanation.

import { get } from "./api.js";
import { byId, code, el, facts, moment, prose, result } from "./dom.js";
import { explainDecision } from "./explain.js";

let reasons = null;

async function meaning(found) {
  reasons ??= await get("reasons");
  return reasons.find(({ code: known, openEnded }) => found === known || (openEnded && found.startsWith(known)));
}

function headers(line) {
  const rows = Object.entries(line.headers);
  if (!rows.length) return el("p", { class: "muted" }, "None arrived.");
  return el("table", { class: "headers" }, el("thead", { class: "unseen" }, el("tr", {}, el("th", {}, "Name"), el("th", {}, "Value"))),
    el("tbody", {}, rows.map(([name, value]) => el("tr", {}, el("th", { scope: "row" }, code(name), line.repeated?.includes(name) && el("span", { class: "tag" }, "repeated")),
      el("td", {}, value === true ? el("span", { class: "muted" }, "was there") : value === "" ? el("span", { class: "muted" }, "blank") : code(value))))));
}

/** Show one line of the decision log. */
export function showDecision(line) {
  const drawer = byId("drawer");
  const why = el("div", { class: "why-told" });
  drawer.replaceChildren(
    el("div", { class: "drawer-head" },
      el("h2", { id: "drawer-title" }, result(line.result), " ", line.user ?? line.peer ?? line.caller),
      el("button", { type: "button", class: "close", "aria-label": "Close", onclick: () => drawer.close() }, "✕")),
    why,
    facts([
      ["Time", moment(new Date(line.time), { day: true, fraction: true })],
      ["Decision", code(line.id)],
      ["Gateway", line.gateway === null ? (line.named ? ["none is called ", code(line.named)] : "none was reached") : code(line.gateway)],
      ["Reason", line.reason && code(line.reason)],
      ["The client was told", line.limited && [code("too_many_refusals"), ", as there were too many like this"]],
      ["What was wrong", line.fault],
      ["Failed step", line.step && code(line.step)],
      ["User", line.user && code(line.user)],
      ["Peer", line.peer ? code(line.peer) : "not known"],
      ["Principal", line.principal === undefined ? null : line.principal ? [code(line.principal), line.matched ? [", trusted by ", code(line.matched)] : ", not trusted"] : "none was told of"],
      ["Client", line.client && code(line.client)],
      ["Request", code(`${line.method} ${line.host}${line.path}`)],
      ["Asked by", [code(line.caller), line.door ? ` over ${line.door}` : ""]],
      ["Took", `${line.microseconds} µs`],
      ["Policy", code(line.policy)],
    ]),
    el("h3", {}, "Headers"),
    el("p", { class: "muted" }, "Values are shown only where the rules weigh them."),
    headers(line),
    ...(line.more ? [el("p", { class: "muted" }, `And ${line.more} more.`)] : []),
    el("p", { class: "actions" }, el("button", { type: "button", class: "main", onclick: () => {
      drawer.close();
      explainDecision(line);
    } }, "Explain this request")),
  );
  drawer.showModal();
  if (line.reason) {
    meaning(line.reason).then((found) => found && why.append(el("p", {}, prose(found.meaning)), el("p", { class: "muted" }, prose(found.cure)))).catch(() => {});
  }
}

byId("drawer").addEventListener("click", (event) => {
  if (event.target === event.currentTarget) event.currentTarget.close(); // beside it
});
