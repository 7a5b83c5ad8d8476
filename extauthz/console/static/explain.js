// A request, decided step by step by the policy in force. Nothing is logged or counted, and nobody is let in.

import { TokenWanted, post } from "./api.js";
import { byId, card, code, el, empty, prose, result } from "./dom.js";
import { go } from "./place.js";

const FIELDS = ["gateway", "peer", "principal", "caller", "method", "host", "path"];
// What stands in for a value that the decision log does not tell: the rules ask only whether it is blank.
const PRESENT = "(present)";

let built = false;

function field(name, label, placeholder, told, wide = false) {
  return el("label", { class: wide ? "field wide" : "field" }, label,
    el("input", { name, placeholder, autocomplete: "off", spellcheck: "false", "aria-describedby": `told-${name}` }),
    el("span", { class: "told muted", id: `told-${name}` }, told));
}

function build(panel) {
  built = true;
  panel.append(
    el("div", { class: "halves explain" },
      el("form", { class: "card", id: "request", onsubmit: onSubmit },
        el("h2", {}, "Explain a request"),
        el("p", { class: "muted" }, "As the proxy would describe it. It is decided by the policy in force; nothing is logged or counted."),
        el("div", { class: "fields" },
          field("gateway", "Gateway", "openclaw", "The id that the proxy names; none: by host"),
          field("peer", "Peer", "10.0.0.7", "Who connected to the proxy"),
          field("principal", "Principal", "proxy.example.com", "Of its client certificate, where it has one"),
          field("method", "Method", "GET", "If not GET"),
          field("host", "Host", "gateway.example.com", "As the client named it"),
          field("path", "Path", "/", "If not /"),
          field("caller", "Caller", "any that may ask", "The proxy itself: an IP address, or unix"),
          el("label", { class: "field all" }, "Headers", el("textarea", { name: "headers", rows: 7, spellcheck: "false", placeholder: "x-forwarded-user: nick@example.com\nx-forwarded-proto: https", "aria-describedby": "told-headers" }),
            el("span", { class: "told muted", id: "told-headers" }, "One a line, name: value. Leave secrets out: for a cookie or a token any word will do."))),
        el("p", { class: "actions" }, el("button", { type: "submit", class: "main" }, "Explain"), el("button", { type: "button", onclick: clear }, "Clear"))),
      el("div", { id: "explained", "aria-live": "polite" })),
  );
  byId("explained").replaceChildren(hello());
}

function hello() {
  return card("", empty("What would happen to it?", "Fill in what you know and choose Explain. Or open a decision and choose “Explain this request”: the form is then filled with what the log has."));
}

function clear() {
  byId("request").reset();
  byId("explained").replaceChildren(hello());
}

/** Read "name: value" lines; a name that comes again is a repeated header. */
function readHeaders(text) {
  const found = new Map();
  text.split("\n").forEach((line, at) => {
    if (!line.trim()) return;
    const colon = line.indexOf(":");
    if (colon < 1) throw new Error(`Line ${at + 1} of the headers is not “name: value”.`);
    const name = line.slice(0, colon).trim();
    found.set(name, [...(found.get(name) ?? []), line.slice(colon + 1).trim()]);
  });
  return Object.fromEntries(found);
}

async function onSubmit(event) {
  event.preventDefault();
  await ask();
}

async function ask() {
  const form = byId("request");
  const shown = byId("explained");
  try {
    const request = { headers: readHeaders(form.elements.headers.value) };
    for (const name of FIELDS) {
      const value = form.elements[name].value.trim();
      if (value) request[name] = value;
    }
    shown.replaceChildren(explanation(await post("explain", request)));
  } catch (error) {
    const why = error instanceof TokenWanted ? "The token is wanted first." : error instanceof TypeError ? "extauthz does not answer." : error.message;
    shown.replaceChildren(card("", el("p", { class: "note bad", role: "alert" }, why)));
  }
}

function verdict(found) {
  if (found.allowed) return ["allow", ["Allowed as ", code(found.user ?? "")]];
  if (found.hint.includes("shadow mode")) return ["shadow", "Passes in shadow mode, without any identity"];
  return ["deny", `Denied with ${found.status}`];
}

function explanation(found) {
  const [kind, text] = verdict(found);
  return card("",
    el("h2", { class: "verdict" }, result(kind), el("span", {}, text)),
    found.reason && el("p", {}, code(found.reason), found.gateway ? [" by gateway ", code(found.gateway)] : null),
    found.hint && el("p", { class: "note hint" }, prose(found.hint)),
    el("ol", { class: "steps told-steps" }, found.steps.map((step) => el("li", { class: step.passed ? "passed" : "failed" },
      el("span", { class: "step-sign", "aria-hidden": "true" }, step.passed ? "✓" : "✕"),
      el("span", { class: "step-name" }, step.step, el("span", { class: "unseen" }, step.passed ? " passed:" : " failed:")),
      el("span", { class: "step-detail" }, step.detail)))),
  );
}

/** Fill the form with what the decision log has of a request, and explain it. */
export function explainDecision(line) {
  go("explain");
  if (!built) build(byId("panel-explain"));
  const form = byId("request");
  form.reset();
  for (const name of FIELDS) form.elements[name].value = line[name] ?? "";
  if (line.gateway === null && line.named) form.elements.gateway.value = line.named;
  form.elements.headers.value = Object.entries(line.headers).map(([name, value]) => `${name}: ${value === true ? PRESENT : value}`).join("\n");
  ask().then(() => byId("explained").scrollIntoView({ block: "nearest" }));
}

export const explain = {
  every: 60_000,
  open(panel, fields) {
    if (!built) build(panel);
    if (fields.gateway) byId("request").elements.gateway.value = fields.gateway;
  },
  async refresh() {}, // nothing here changes by itself
};
