// The page: its tabs, what is asked for and when, and what is said when nobody answers.

import { Refused, TokenWanted, get, token } from "./api.js";
import { decisions } from "./decisions.js";
import { byId, count, span } from "./dom.js";
import { explain } from "./explain.js";
import { gateways } from "./gateways.js";
import { overview } from "./overview.js";
import { go, place } from "./place.js";
import { findings, keys, service } from "./state.js";

// Each view has `open(panel, fields)`, which shows it, `refresh()`, which asks again, and `every`, in milliseconds.
const VIEWS = { overview, decisions, gateways, explain, findings, keys, service };
const FIRST = "overview";
const STATUS_MS = 5_000;
const FINDINGS_MS = 60_000;
const LONGEST_WAIT_MS = 30_000;
const TICK_MS = 250;

const next = { view: 0, status: 0, findings: 0 };
let current = FIRST;
let live = true;
let asking = false;
let failures = 0;
let quietUntil = 0;
let lostAt = null;
let wantsToken = false;

// Tabs, after the ARIA Authoring Practices: arrows move, Home and End go to the ends, one stop for the Tab key.

const tabs = [...document.querySelectorAll("[role=tab]")];
const viewOf = (tab) => tab.id.slice("tab-".length);

byId("tabs").addEventListener("keydown", (event) => {
  const at = tabs.indexOf(document.activeElement);
  const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: tabs.length - 1 }[event.key];
  if (at === -1 || to === undefined) return;
  event.preventDefault();
  const tab = tabs[(to + tabs.length) % tabs.length];
  go(viewOf(tab));
  tab.focus();
});
for (const tab of tabs) tab.addEventListener("click", () => go(viewOf(tab)));

function show() {
  const { view, fields } = place();
  current = view in VIEWS ? view : FIRST;
  for (const tab of tabs) {
    const chosen = viewOf(tab) === current;
    tab.setAttribute("aria-selected", String(chosen));
    tab.tabIndex = chosen ? 0 : -1;
    byId(`panel-${viewOf(tab)}`).hidden = !chosen;
    if (chosen) {
      tab.scrollIntoView({ block: "nearest", inline: "nearest" });
      document.title = `${tab.firstChild.textContent} · extauthz`;
    }
  }
  VIEWS[current].open(byId(`panel-${current}`), fields);
  next.view = quietUntil = 0;
  tick();
}

addEventListener("hashchange", show);
byId("skip").addEventListener("click", (event) => {
  event.preventDefault();
  byId("main").focus();
});

// What is asked for, one thing after the other: never two questions at once, none while nobody looks.

async function tick() {
  const now = Date.now();
  if (asking || wantsToken || document.hidden || now < quietUntil) return;
  asking = true;
  const asked = current;
  try {
    if (now >= next.status) {
      showStatus(await get("status"));
      next.status = Date.now() + STATUS_MS;
    }
    if (now >= next.findings) {
      showBadges(await get("findings"), await get("keys"));
      next.findings = Date.now() + FINDINGS_MS;
    }
    if (now >= next.view && (live || next.view === 0)) {
      // Set before the answer: a view that is opened meanwhile is to be asked for at once.
      next.view = Date.now() + VIEWS[asked].every;
      await VIEWS[asked].refresh();
    }
    answered();
  } catch (error) {
    failed(error, asked);
  } finally {
    asking = false;
    if (current !== asked) tick();
  }
}

function answered() {
  failures = 0;
  lostAt = null;
  byId("banner").hidden = true;
}

function failed(error, asked) {
  if (error instanceof TokenWanted) {
    askForToken();
    return;
  }
  const banner = byId("banner");
  if (error instanceof Refused) {
    quietUntil = Date.now() + STATUS_MS;
    banner.textContent = `${asked}: ${error.message}`;
    banner.hidden = false;
    return;
  }
  next.view = 0;
  failures += 1;
  lostAt ??= new Date();
  const wait = Math.min(1000 * 2 ** (failures - 1), LONGEST_WAIT_MS);
  quietUntil = Date.now() + wait;
  banner.textContent = `extauthz does not answer, since ${lostAt.toLocaleTimeString("en-GB")}. What is shown is what was last seen; the next try is in ${span(wait / 1000)}.`;
  banner.hidden = false;
  setState("lost", "Not reachable");
}

setInterval(tick, TICK_MS);
document.addEventListener("visibilitychange", () => {
  quietUntil = 0;
  tick();
});

byId("live").addEventListener("click", () => {
  live = !live;
  byId("live").setAttribute("aria-pressed", String(live));
  byId("live-text").textContent = live ? "Live" : "Paused";
  tick();
});

// How the service is.

function setState(state, text) {
  byId("state").dataset.state = state;
  byId("state-text").textContent = text;
}

function showStatus(status) {
  const faults = status.reload.faults.total;
  const up = span(status.now - status.started);
  if (!status.ready) setState("leaving", "Not ready");
  else if (faults) setState("warning", `Serving · ${count(faults, "fault")} in the new configuration`);
  else setState("serving", `Serving ${count(status.gateways, "gateway")} · up ${up}`);
  badge("service", faults + status.incomplete.total + status.assertionKeys.filter(({ fault }) => fault).length, "to look at");
}

function showBadges(found, keyState) {
  const { critical = 0, warn = 0 } = found.open;
  badge("findings", critical + warn, "open");
  badge("keys", keyState.fault ? 1 : 0, "to look at");
}

function badge(name, value, what) {
  const node = byId(`badge-${name}`);
  node.hidden = !value;
  node.textContent = String(value);
  node.title = `${value} ${what}`;
}

// The token.

function askForToken() {
  wantsToken = true;
  byId("token-wrong").hidden = token.get() === null;
  token.forget();
  const dialog = byId("token");
  if (!dialog.open) dialog.showModal();
  byId("token-input").select();
}

byId("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  token.keep(byId("token-input").value.trim());
  byId("token-input").value = "";
  wantsToken = false;
  byId("token").close();
  next.view = next.status = next.findings = 0;
  tick();
});
byId("token").addEventListener("close", () => {
  if (wantsToken) byId("token").showModal(); // there is nothing behind it to go back to
});

show();
