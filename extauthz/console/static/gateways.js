// The gateways, and the policy of each as it is compiled: what decides, not what was written.

import { Refused, get } from "./api.js";
import { byId, card, code, count, el, empty, facts, list, moment, number, prose } from "./dom.js";
import { address, stay } from "./place.js";
import { finding } from "./state.js";

const TYPING_MS = 250;

let built = false;
let query = "";
let offset = 0;
let wanted = "";
let typing = null;

function build(panel) {
  built = true;
  panel.append(
    el("div", { id: "gateway-list" },
      el("form", { class: "filters", role: "search", "aria-label": "Find gateways", onsubmit: (event) => event.preventDefault() },
        el("label", { class: "field wide" }, "Find", el("input", { id: "gateway-query", type: "search", autocomplete: "off", spellcheck: "false", placeholder: "part of an id or a host", oninput: onQuery }))),
      el("p", { class: "muted", id: "gateway-count" }),
      el("ul", { class: "gateways", id: "gateway-rows" }),
      el("p", { class: "actions" },
        el("button", { type: "button", id: "gateway-back", onclick: () => turn(-1) }, "← Back"),
        el("button", { type: "button", id: "gateway-on", onclick: () => turn(1) }, "Further →"))),
    el("div", { id: "gateway-one", hidden: true }),
  );
}

function onQuery(event) {
  clearTimeout(typing);
  typing = setTimeout(() => {
    query = event.target.value;
    offset = 0;
    stay("gateways", { q: query });
    gateways.refresh().catch(() => {}); // the next look at the service tells of it
  }, TYPING_MS);
}

function turn(by) {
  offset = Math.max(0, offset + by * 50);
  gateways.refresh().catch(() => {});
}

function tally(counts) {
  return [["allow", "✓", "allowed"], ["deny", "✕", "denied"], ["shadow", "◐", "shadow"]].filter(([name]) => name !== "shadow" || counts.shadow)
    .map(([name, sign, text]) => el("span", { class: `result ${name}`, title: text }, el("span", { "aria-hidden": "true" }, sign), el("span", { class: "unseen" }, text), ` ${number(counts[name])}`));
}

function mode(gateway) {
  return gateway.shadow ? el("span", { class: "tag warn" }, "◐ shadow mode") : null;
}

function row(gateway) {
  const hosts = gateway.hosts.total ? `${gateway.hosts.shown.join(", ")}${gateway.hosts.total > gateway.hosts.shown.length ? ` and ${gateway.hosts.total - gateway.hosts.shown.length} more` : ""}` : "named by the proxy";
  return el("li", {}, el("a", { href: address("gateways", { id: gateway.id }) },
    el("span", { class: "gateway-name" }, gateway.id, mode(gateway), gateway.incomplete && el("span", { class: "tag bad" }, "incomplete: denies all")),
    el("span", { class: "muted" }, hosts),
    el("span", { class: "muted" }, `${gateway.ruleset} · ${count(gateway.trustedProxies, "trusted proxy", "trusted proxies")}${gateway.peerNames ? ` · ${count(gateway.peerNames, "name of a proxy", "names of proxies")}` : ""}${gateway.trustedPrincipals ? ` · ${count(gateway.trustedPrincipals, "trusted principal")}` : ""} · ${gateway.allowUsers ? count(gateway.allowUsers, "user") : "every user the proxy names"}`),
    el("span", { class: "tally" }, tally(gateway.counts))));
}

function showList(found) {
  byId("gateway-count").textContent = query ? `${number(found.found)} of ${count(found.all, "gateway")}` : count(found.all, "gateway");
  byId("gateway-rows").replaceChildren(...(found.gateways.length ? found.gateways.map(row) : [el("li", {}, empty("No gateway is like this.", "Look for part of an id, or of one of its hosts."))]));
  byId("gateway-back").hidden = found.offset === 0;
  byId("gateway-on").hidden = found.offset + found.page >= found.found;
}

function callers(found) {
  if (!found) return "as the service's";
  const addresses = found.addresses === null ? el("span", { class: "muted" }, "any address") : list(found.addresses, "no address");
  return [addresses, found.unix ? el("p", {}, "and who is on a unix socket") : null, found.principals.total ? el("div", {}, "with a certificate of ", list(found.principals)) : null];
}

function origins(policy) {
  if (policy.anyOrigin) return "any";
  const fallback = policy.hostOriginFallback ? el("p", { class: "muted" }, "and whatever equals the request's own Host") : null;
  return [policy.allowedOrigins.total ? list(policy.allowedOrigins) : el("span", { class: "muted" }, "not checked"), fallback];
}

function trust(policy) {
  if (!policy.trustedProxies.total && policy.require === "any") return null;
  return el("p", { class: "muted" }, policy.require === "all" ? "A proxy is trusted by both, its address and its principal." : "A proxy is trusted by one of both, its address or its principal.");
}

function asserted(found) {
  return [
    el("p", {}, code(found.header), found.preset ? `, of ${found.preset}` : null),
    el("p", {}, "signed by ", code(found.issuer), " with the keys of ", code(found.source)),
    el("div", {}, "for ", list(found.audiences)),
    el("p", {}, "its ", code(found.userClaim), " is the user"),
  ];
}

function one(policy) {
  return [
    el("p", {}, el("a", { href: address("gateways", { q: query }) }, "← All gateways")),
    el("div", { class: "one-head" }, el("h2", {}, policy.id), mode(policy), el("a", { class: "button", href: address("decisions", { gateway: policy.id }) }, "Its decisions"), el("a", { class: "button", href: address("explain", { gateway: policy.id }) }, "Explain a request")),
    policy.incomplete.map((text) => el("p", { class: "note bad" }, prose(text))),
    el("div", { class: "halves" },
      card("Who is let in", facts([
        ["Trusted proxies", list(policy.trustedProxies, policy.trustedPrincipals.total || policy.peerNames.total ? "none by address" : "none: every request is denied")],
        ["Proxies by name", policy.peerNames.total ? list(policy.peerNames) : null],
        ["Trusted principals", policy.trustedPrincipals.total ? [list(policy.trustedPrincipals), trust(policy)] : null],
        ["Peer", policy.peer === "caller" ? "the proxy that asks" : "the connection that the proxy received"],
        ["Loopback peers", policy.allowLoopback ? "allowed" : "refused"],
        ["User header", policy.userHeader ? code(policy.userHeader) : policy.assertion ? "none: the assertion names the user" : "none: every request is denied"],
        ["Assertion", policy.assertion ? asserted(policy.assertion) : null],
        ["Required headers", list(policy.requiredHeaders)],
        ["Users", policy.allowUsers.total ? list(policy.allowUsers) : "everyone whom the proxy names"],
        ["Comma in a user", policy.allowCommaInUser ? "allowed where a single header is proven" : "refused"],
        ["Origins", origins(policy)],
      ])),
      card("How it is reached", facts([
        ["Hosts", list(policy.hosts, "none: the proxy names the gateway")],
        ["Callers of the service", callers(policy.callers)],
        ["Callers of this gateway", callers(policy.ownCallers)],
        ["Own addresses", policy.localInterfaces === null ? "could not be read" : list(policy.localInterfaces, "not checked")],
        ["Client from X-Real-IP", policy.allowRealIpFallback ? "where X-Forwarded-For names none" : null],
        ["Headers set", list({ shown: policy.outputHeaders, total: policy.outputHeaders.length })],
        ["Headers protected", list({ shown: policy.protected, total: policy.protected.length })],
      ]))),
    card(`Steps, in order: ${policy.ruleset}`,
      el("p", { class: "muted" }, "The first that fails gives the reason. A step that this configuration settles is not asked."),
      el("ol", { class: "steps" }, policy.steps.map((step) => el("li", { class: step.asked ? null : "settled" },
        el("span", { class: "step-name" }, step.step, step.asked ? null : el("span", { class: "tag" }, "settled")), el("span", { class: "reasons" }, step.reasons.map((reason) => code(reason))))))),
    policy.findings.length ? card("Audit findings", el("ul", { class: "findings" }, policy.findings.map((found) => finding(found)))) : null,
    el("p", { class: "muted" }, "Policy ", code(policy.policy), ", in force since ", moment(policy.since), "."),
  ].flat().filter(Boolean);
}

export const gateways = {
  every: 5_000,
  open(panel, fields) {
    if (!built) build(panel);
    wanted = fields.id ?? "";
    if (fields.q !== undefined && fields.q !== query) offset = 0;
    query = fields.q ?? (wanted ? query : "");
    byId("gateway-query").value = query;
    byId("gateway-list").hidden = Boolean(wanted);
    if (byId("gateway-one").dataset.id !== wanted) byId("gateway-one").replaceChildren();
    byId("gateway-one").hidden = !wanted;
  },
  async refresh() {
    if (!wanted) {
      showList(await get("gateways", { q: query, offset: offset || "" }));
      return;
    }
    const node = byId("gateway-one");
    let policy;
    try {
      policy = await get(`gateways/${encodeURIComponent(wanted)}`);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      node.replaceChildren(el("p", {}, el("a", { href: address("gateways") }, "← All gateways")), card("", empty("There is no such gateway.", error.message)));
      node.dataset.seen = "";
      return;
    }
    const seen = JSON.stringify(policy);
    if (node.dataset.seen === seen) return; // nothing changed: what is focused or selected stays so
    Object.assign(node.dataset, { seen, id: policy.id });
    node.replaceChildren(...one(policy));
  },
};
