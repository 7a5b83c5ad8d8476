// The overview: how much is decided, how it changed, why and who is denied, and the latest denials.

import { get } from "./api.js";
import { RANGES, barAt, bars, draw, told } from "./chart.js";
import { showDecision } from "./details.js";
import { RESULTS, byId, card, count, el, empty, moment, number, result, share, shortClock, svg } from "./dom.js";
import { address, stay } from "./place.js";

const RATE_SECONDS = 10;
const LATEST = 6;

let built = false;
let range = "5m";
let shown = [];
let chosen = -1;

function build(panel) {
  built = true;
  panel.append(
    el("div", { class: "tiles", id: "tiles" }),
    el("section", { class: "card chart" },
      el("div", { class: "chart-head" },
        el("h2", {}, "Decisions over time"),
        el("fieldset", { class: "ranges" }, el("legend", { class: "unseen" }, "Time shown"), Object.entries(RANGES).map(([name, { text }]) =>
          el("label", {}, el("input", { type: "radio", name: "range", value: name, checked: name === range, onchange: () => choose(name) }), el("span", {}, text)))),
      ),
      svg("svg", { id: "chart", class: "plot", role: "img", tabindex: "0", "aria-describedby": "chart-told", onkeydown: onKey, onpointermove: onPointer, onpointerleave: () => point(-1) }),
      el("div", { class: "chart-foot" }, el("p", { id: "chart-told", class: "muted", "aria-live": "off" }), el("ul", { class: "legend" }, Object.entries(RESULTS).map(([name]) => el("li", {}, el("span", { class: `swatch ${name}`, "aria-hidden": "true" }), result(name))))),
    ),
    el("div", { class: "thirds" },
      card("Why denied", el("ol", { class: "ranked", id: "top-reasons" })),
      card("Denied peers", el("ol", { class: "ranked", id: "top-peers" })),
      card("Denied users", el("ol", { class: "ranked", id: "top-users" }))),
    card("Latest denials", el("ul", { class: "latest", id: "latest" })),
  );
  new ResizeObserver(redraw).observe(byId("chart"));
}

function choose(name) {
  range = name;
  chosen = -1;
  stay("overview", range === "5m" ? {} : { range });
  overview.refresh();
}

function point(at) {
  chosen = at;
  redraw();
}

function onPointer(event) {
  point(barAt(byId("chart"), shown, event.clientX - byId("chart").getBoundingClientRect().left));
}

function onKey(event) {
  const last = shown.length - 1;
  const from = chosen === -1 ? last : chosen;
  const to = { ArrowLeft: from - 1, ArrowRight: from + 1, Home: 0, End: last, Escape: -1 }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  byId("chart-told").setAttribute("aria-live", "polite");
  point(Math.max(to === -1 && event.key !== "Escape" ? 0 : -1, Math.min(last, to)));
}

function redraw() {
  if (!shown.length) return;
  draw(byId("chart"), shown, range, chosen);
  const denied = shown.reduce((sum, bar) => sum + bar.deny, 0);
  const all = shown.reduce((sum, bar) => sum + bar.allow + bar.deny + bar.shadow, 0);
  const whole = `${count(all, "request")} in the last ${RANGES[range].text}, ${number(denied)} denied; bars are ${RANGES[range].unit}.`;
  byId("chart").setAttribute("aria-label", `Decisions over time. ${whole} Arrow keys read single bars.`);
  byId("chart-told").textContent = chosen === -1 ? whole : told(shown[chosen], range);
}

function tile(name, value, told, kind = "") {
  return el("div", { class: `tile ${kind}` }, el("p", { class: "tile-name" }, name), el("p", { class: "tile-value" }, value), el("p", { class: "muted" }, told));
}

function showTiles(counts) {
  const { allow, deny, shadow } = counts.totals;
  const all = allow + deny + shadow;
  const span = Math.min(RATE_SECONDS, Math.max(1, counts.now - counts.started));
  const recent = counts.seconds.filter(([time]) => time > counts.now - span - 1).reduce((sum, [, a, d, s]) => sum + a + d + s, 0);
  const rate = recent / span;
  byId("tiles").replaceChildren(
    tile("Now", rate < 10 && rate > 0 ? rate.toFixed(1) : number(Math.round(rate)), "requests per second"),
    tile("Allowed", number(allow), `${share(allow, all)} since the start`, "allow"),
    tile("Denied", number(deny), `${share(deny, all)} since the start`, "deny"),
    tile("Shadow", number(shadow), shadow ? "passed, without identity" : "no denial was let pass", "shadow"),
  );
}

function rank(id, rows, none, link) {
  const most = Math.max(...rows.map((row) => row.count), 1);
  byId(id).replaceChildren(...(rows.length ? rows.map((row) => {
    const bar = el("span", { class: "rank-bar", "aria-hidden": "true" });
    bar.style.setProperty("--part", `${(row.count / most) * 100}%`);
    const name = el("span", { class: "rank-name", title: row.text }, row.text);
    return el("li", {}, bar, link ? el("a", { href: link(row.text) }, name) : name,
      el("span", { class: "rank-count", title: row.over ? `${number(row.count - row.over)} at least` : null }, row.over ? `≤ ${number(row.count)}` : number(row.count)));
  }) : [el("li", { class: "none muted" }, none)]));
}

function showLatest(lines) {
  byId("latest").replaceChildren(...(lines.length ? lines.slice(0, LATEST).map((line) => el("li", {},
    el("button", { type: "button", onclick: () => showDecision(line) },
      moment(new Date(line.time)), result(line.result), el("span", { class: "who" }, line.user ?? line.peer ?? line.caller), el("code", { class: "why" }, line.reason)))) : [
    el("li", {}, empty("Nobody was denied lately.", "Denials appear here as they happen."))]));
}

export const overview = {
  every: 2_000,
  open(panel, fields) {
    if (!built) build(panel);
    range = fields.range in RANGES ? fields.range : "5m";
    for (const input of document.getElementsByName("range")) input.checked = input.value === range;
  },
  async refresh() {
    const [counts, top, latest] = [await get("counts"), await get("top"), await get("decisions", { result: "denied", most: LATEST })];
    showTiles(counts);
    shown = bars(counts, range);
    redraw();
    rank("top-reasons", counts.reasons.map(({ reason, count: many }) => ({ text: reason, count: many, over: 0 })), "Nothing was denied since the start.", (reason) => address("decisions", { reason }));
    const since = (found) => `Since ${shortClock(new Date(found.since * 1000))}, none.`;
    rank("top-peers", top.peers.top, since(top.peers));
    rank("top-users", top.users.top, since(top.users));
    showLatest(latest.decisions);
  },
};
