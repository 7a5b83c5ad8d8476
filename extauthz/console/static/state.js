// How the service is: what the audit found, the stamp keys and their ages, what came of the last reload.

import { get } from "./api.js";
import { card, code, count, el, empty, facts, moment, number, prose, span } from "./dom.js";
import { address } from "./place.js";

const SEVERITIES = { critical: { sign: "✕", kind: "bad" }, warn: { sign: "!", kind: "warn" }, info: { sign: "i", kind: "" } };
const STATES = { next: "published, signs next", active: "signs", previous: "published, signs no more", retired: "no longer published" };

/** A view that shows one answer whole, and redraws only when it changed. */
function page(name, every, show) {
  let panel = null;
  let seen = "";
  return {
    every,
    open(node) {
      panel = node;
    },
    async refresh() {
      const told = await get(name);
      const now = JSON.stringify({ ...told, now: Math.floor((told.now ?? 0) / 60), decisions: 0 });
      if (now === seen) return;
      seen = now;
      panel.replaceChildren(...[show(told)].flat(Infinity).filter(Boolean));
    },
  };
}

export function finding(found) {
  const { sign, kind } = SEVERITIES[found.severity] ?? SEVERITIES.info;
  return el("li", { class: found.accepted ? "finding accepted" : "finding" },
    el("div", { class: "finding-head" },
      el("span", { class: `tag ${found.accepted ? "" : kind}` }, el("span", { "aria-hidden": "true" }, `${sign} `), found.severity),
      el("strong", {}, found.title),
      found.gateway ? el("a", { href: address("gateways", { id: found.gateway }) }, found.gateway) : el("span", { class: "muted" }, "the service")),
    el("p", {}, prose(found.seen)),
    el("p", { class: "muted" }, prose(found.do)),
    found.accepted ? el("p", { class: "note" }, `Accepted by ${found.accepted.by}: ${found.accepted.because}`) : el("p", { class: "muted" }, code(found.id)));
}

export const findings = page("findings", 30_000, (told) => {
  if (!told.total) return card("", empty("The audit found nothing.", "It looks again as the configuration changes. ", code("extauthz audit"), " says the same at a terminal."));
  const parts = ["critical", "warn", "info"].filter((name) => told.open[name]).map((name) => `${number(told.open[name])} ${name}`);
  return [
    el("p", { class: "lead" }, parts.length ? `${parts.join(", ")}` : "Nothing is open", told.accepted ? `; ${number(told.accepted)} accepted` : "", "."),
    el("ul", { class: "findings" }, told.findings.map(finding)),
    told.total > told.findings.length ? el("p", { class: "muted" }, `And ${number(told.total - told.findings.length)} more: `, code("extauthz audit"), " has all of them.") : null,
  ];
});

function key(found, now) {
  const age = now - found.created;
  return el("li", { class: `key ${found.state}` },
    el("div", { class: "key-head" }, el("strong", {}, STATES[found.state] ?? found.state), el("span", { class: "tag" }, found.state), el("span", { class: "tag" }, found.algorithm)),
    facts([
      ["Age", [span(age), ", made ", moment(found.created, { day: true })]],
      [found.activates > now ? "Will sign" : "Began to sign", [found.activates > now ? `in ${span(found.activates - now)}, ` : "", moment(found.activates, { day: true })]],
      ["Key id", code(found.kid)],
      ["File", code(found.file)],
    ]));
}

export const keys = page("keys", 15_000, (told) => {
  if (!told.stamps) return card("", empty("Stamping is off.", "Allowed requests carry no signature, and the Gateway cannot tell who set its headers. ", code("stamp.enabled: true"), " switches it on."));
  return [
    told.fault ? el("p", { class: "note bad" }, told.fault, " The keys that were read before stay in use.") : null,
    told.warnings.shown.map((text) => el("p", { class: "note" }, text)),
    el("p", { class: "lead" }, `${count(told.keys.length, "key")} in `, code(told.folder), ". ", told.nextChange ? ["The next one signs in ", span(told.nextChange - told.now), "."] : ["None is waiting to take over: ", code("extauthz keys rotate"), " makes one."]),
    el("ul", { class: "keys" }, told.keys.map((found) => key(found, told.now))),
    el("p", { class: "muted" }, `Private keys are never shown. A previous key stays published for ${span(told.withdrawal)}, until the last stamp that it signed has expired.`),
  ];
});

/** The sources of issuers' keys that could not be read, in words. */
function sources(found) {
  const shown = found.filter(({ fault, usable }) => fault || !usable).map(({ source, fault, usable, age, keys }) =>
    `${source}: ${fault ?? "not read yet"}; ${usable ? `${count(keys, "key")}, read ${span(age ?? 0)} ago, still counted` : "nobody is let in"}`);
  return { shown, total: shown.length };
}

function faults(title, found, kind, told) {
  if (!found.total) return null;
  return card(title, told && el("p", {}, told), el("ul", { class: "faults" }, found.shown.map((text) => el("li", { class: `note ${kind}` }, prose(text)))),
    found.total > found.shown.length && el("p", { class: "muted" }, `And ${number(found.total - found.shown.length)} more: `, code("extauthz check"), " has all of them."));
}

function names(told) {
  if (!told.names.length) return null;
  return card("Proxies by name", told.names.map((found) => [
    el("h3", {}, code(`dns:${found.name}`)),
    found.addresses.length ? null : el("p", { class: "note bad" }, `trusts nobody: ${found.fault || "no answer in time"}`),
    found.addresses.length && found.fault ? el("p", { class: "note" }, `the last answer is kept for ${span(found.lapses)} more: ${found.fault}`) : null,
    facts([
      ["Stands for", found.addresses.length ? found.addresses.map((text) => [code(text), " "]) : "nobody"],
      ["Last good answer", found.answered === null ? "never since the start" : moment(found.answered, { day: true })],
      ["Changes", number(found.changes)],
    ]),
  ]), el("p", { class: "muted" }, "Asked in the background, by ", code("dns"), " of the file; no request waits for it."));
}

function reloadFacts({ reload, now }) {
  const last = reload.attempted === null ? "never since the start" : [moment(reload.attempted, { day: true }), reload.faults.total ? ": refused" : ": in force"];
  return facts([
    ["In force since", [moment(reload.since, { day: true }), ` (${span(now - reload.since)})`]],
    ["Last change", last],
    ["Changes taken", number(reload.succeeded)],
    ["Changes refused", number(reload.failed)],
    ["Waits for a restart", reload.waiting.length ? reload.waiting.map((text) => code(text)) : null],
  ]);
}

export const service = page("status", 5_000, (told) => [
  faults("The new configuration is refused", told.reload.faults, "bad", "The one before it stays in force until all of this is mended."),
  faults("Incomplete gateways", told.incomplete, "bad"),
  faults("Keys of assertions that cannot be read", sources(told.assertionKeys), "bad", "Without a key, nobody is let in by the assertion that wants it."),
  el("div", { class: "halves" },
    card("Service", facts([
      ["State", told.ready ? "serving" : "not ready"],
      ["Started", [moment(told.started, { day: true }), ` (up ${span(told.now - told.started)})`]],
      ["Gateways", number(told.gateways)],
      ["Policy", code(told.policy)],
      ["Stamps", told.stamps ? "signed" : "off: the Gateway cannot tell who set its headers"],
      ["Not seen", told.unseen ? `${count(told.unseen, "decision")} came faster than they could be logged` : null],
      ["gRPC", told.listen.grpc.map((text) => code(text))],
      ["HTTP", told.listen.http.map((text) => code(text))],
      ["Admin", told.listen.admin.map((text) => code(text))],
    ])),
    card("Configuration", reloadFacts(told), el("p", { class: "muted" }, "Read from ", code(told.folder), "; looked at every second, and taken in between two requests."))),
  names(told),
  faults("Notes", told.notices, ""),
]);
