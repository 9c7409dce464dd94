"use strict";
// Everything that a log held is put on the page through textContent; nothing is ever parsed as markup.
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
const COLUMNS = [
  ["raised", "Raised", (i) => i.raised],
  ["severity", "Severity", (i) => i.score],
  ["kind", "Kind", (i) => i.kind],
  ["client", "Clients", (i) => i.clients[0] || ""],
  ["entity", "Entities", (i) => i.entities[0] || ""],
  ["count", "Count", (i) => i.count || 0],
  ["score", "Score", (i) => i.score],
];
const SEVERITIES = ["low", "medium", "high", "critical"];
const state = { sort: "raised", down: false, client: "", shown: [], open: "" };

function make(tag, text, name) {
  const node = document.createElement(tag);
  if (text !== undefined) node.textContent = text;
  if (name) node.className = name;
  return node;
}

function draw(tag, attributes, text) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

function shortTime(text) { return text.slice(0, 19).replace("T", " "); }
function millis(text) { return Date.parse(text.slice(0, 23) + "Z"); }
function some(list, limit) { return list.slice(0, limit).join(", ") + (list.length > limit ? ` and ${list.length - limit} more` : ""); }

// --- what is shown ---------------------------------------------------------------------------------------------

for (const incident of data.incidents) incident.hay = JSON.stringify(incident).toLowerCase();

function selected() {
  const words = byId("query").value.toLowerCase().split(/\s+/).filter(Boolean).map((w) => JSON.stringify(w).slice(1, -1));
  const kind = byId("kind").value, severity = byId("severity").value;
  const found = data.incidents.filter((i) => (!kind || i.kinds.includes(kind)) && (!severity || i.severity === severity)
    && (!state.client || i.clients.includes(state.client)) && words.every((w) => i.hay.includes(w)));
  const value = COLUMNS.find((c) => c[0] === state.sort)[2];
  found.sort((a, b) => (value(a) < value(b) ? -1 : value(a) > value(b) ? 1 : 0) * (state.down ? -1 : 1));
  return found;
}

function refresh() {
  state.shown = selected();
  byId("count").textContent = `${state.shown.length} of ${data.incidents.length} incidents` + (state.client ? ` of client ${state.client}` : "");
  const body = byId("list").tBodies[0];
  body.replaceChildren(...state.shown.map(row));
  timeline();
}

function row(incident) {
  const line = make("tr");
  line.tabIndex = 0;
  line.dataset.id = incident.incident_id;
  line.setAttribute("aria-selected", String(incident.incident_id === state.open));
  const severity = make("td", incident.severity, `severity ${incident.severity}`);
  const cells = [make("td", shortTime(incident.raised)), severity, make("td", incident.kinds.join(", ")), make("td", some(incident.clients, 2)),
    make("td", some(incident.entities, 2)), make("td", String(incident.count || ""), "number"), make("td", incident.score.toFixed(2), "number")];
  line.append(...cells);
  line.addEventListener("click", () => show(incident));
  line.addEventListener("keydown", (e) => { if (e.key === "Enter") show(incident); });
  return line;
}

// --- overview --------------------------------------------------------------------------------------------------

function timeline() {
  const shown = [...state.shown].sort((a, b) => (a.first < b.first ? -1 : 1)).slice(0, 60);
  const box = byId("timeline");
  if (!shown.length) { box.replaceChildren(); return; }
  const begin = Math.min(...shown.map((i) => millis(i.first))), end = Math.max(...shown.map((i) => millis(i.last)), begin + 60000);
  const left = 150, width = 1150, step = 16, height = shown.length * step + 24;
  const at = (t) => left + (t - begin) / (end - begin) * (width - left - 10);
  const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "Incidents over time" });
  for (let k = 0; k <= 4; k++) {
    const t = begin + (end - begin) * k / 4, x = at(t);
    svg.append(draw("line", { x1: x, x2: x, y1: 0, y2: height - 18 }));
    svg.append(draw("text", { x, y: height - 5, "text-anchor": k === 4 ? "end" : k ? "middle" : "start" }, new Date(t).toISOString().slice(5, 16).replace("T", " ")));
  }
  shown.forEach((incident, n) => {
    const x = at(millis(incident.first)), length = Math.max(4, at(millis(incident.last)) - x);
    const bar = draw("rect", { x, y: n * step + 3, width: length, height: step - 6, rx: 2, class: incident.severity, tabindex: 0 });
    bar.append(draw("title", {}, incident.sentence));
    bar.addEventListener("click", () => show(incident));
    svg.append(bar, draw("text", { x: 0, y: n * step + 12 }, `${incident.kind} ${incident.clients[0] || ""}`.slice(0, 26)));
  });
  box.replaceChildren(svg);
}

function tally(id, of, act) {
  const counts = new Map();
  for (const incident of data.incidents) for (const name of of(incident)) counts.set(name, (counts.get(name) || 0) + 1);
  const top = [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1)).slice(0, 12);
  const most = top.length ? top[0][1] : 1;
  byId(id).replaceChildren(...top.map(([name, count]) => {
    const line = make("tr"), bar = make("span", "", "bar"), cell = make("td");
    bar.style.width = `${Math.round(100 * count / most)}%`;
    cell.append(bar);
    line.append(make("td", name), make("td", String(count), "number"), cell);
    line.tabIndex = 0;
    line.addEventListener("click", () => act(name));
    line.addEventListener("keydown", (e) => { if (e.key === "Enter") act(name); });
    return line;
  }));
}

// --- one incident ----------------------------------------------------------------------------------------------

function highlighted(text, parts) {
  const code = make("code");
  const marks = parts.filter((p) => p && text.includes(p)).sort((a, b) => b.length - a.length);
  let rest = text;
  while (rest) {
    const next = marks.map((p) => [rest.indexOf(p), p]).filter(([at]) => at >= 0).sort((a, b) => a[0] - b[0])[0];
    if (!next) { code.append(rest); break; }
    if (next[0]) code.append(rest.slice(0, next[0]));
    code.append(make("mark", next[1]));
    rest = rest.slice(next[0] + next[1].length);
  }
  return code;
}

function show(incident) {
  state.open = incident.incident_id;
  for (const line of byId("list").tBodies[0].rows) line.setAttribute("aria-selected", String(line.dataset.id === state.open));
  const detail = byId("detail");
  const copy = make("button", "Copy as Markdown");
  copy.type = "button";
  copy.addEventListener("click", () => put(markdown([incident])));
  detail.replaceChildren(make("h2", `${incident.kinds.join(", ")}: ${some(incident.clients, 3)}`), make("p", incident.sentence), copy);
  const facts = make("p");
  facts.append(make("code", incident.incident_id), ` · ${incident.status} · score ${incident.score.toFixed(3)} · ${shortTime(incident.first)} to ${shortTime(incident.last)}`);
  if (incident.technique) facts.append(` · ${incident.technique.id} ${incident.technique.name}`);
  detail.append(facts, make("h2", "Evidence"), evidence(incident));
  detail.append(make("h2", `Entities (${incident.entities.length})`));
  const entities = make("p");
  for (const entity of incident.entities) entities.append(make("code", entity), " ");
  detail.append(entities, make("h2", "What to do next"));
  const steps = make("ul");
  for (const step of incident.next) steps.append(make("li", step));
  detail.append(steps);
  if (incident.allow_rule && incident.allow_rule.value) detail.append(make("p", `Allow rule that would silence it: ${incident.allow_rule.kind} ${incident.allow_rule.value} (${incident.allow_rule.task})`));
  if (incident.events.length) detail.append(make("h2", "Alarms of the same clients in that time"), events(incident));
  detail.hidden = false;
  detail.focus();
}

function evidence(incident) {
  const table = make("table"), head = make("tr");
  for (const name of ["Sign", "About", "Adds", "Seen in"]) head.append(make("th", name));
  table.append(head);
  for (const sign of incident.evidence) {
    const line = make("tr"), seen = make("td");
    for (const example of sign.examples || []) {
      seen.append(highlighted(example.text, incident.entities), make("br"), make("small", `${example.file} at byte ${example.offset}`), make("br"));
    }
    line.append(make("td", sign.says), make("td", sign.about), make("td", sign.adds.toFixed(1), "number"), seen);
    table.append(line);
  }
  return table;
}

function events(incident) {
  const table = make("table");
  for (const event of incident.events) {
    const line = make("tr"), cell = make("td");
    const bytes = new TextEncoder().encode(event.text || "");
    const parts = (event.why || []).map((r) => new TextDecoder().decode(bytes.slice(r.start, r.end)));
    cell.append(highlighted(event.text || "", parts));
    line.append(make("td", shortTime(event.time)), make("td", `${event.task}: ${event.label}`), make("td", (event.alarm_score || 0).toFixed(2), "number"), cell);
    table.append(line);
  }
  return table;
}

// --- for a ticket ----------------------------------------------------------------------------------------------

function plain(text) { return String(text).replace(/[\\`*_[\]<>|#]/g, "\\$&").replace(/[\r\n]+/g, " "); }
function code(text) { return "`" + String(text).replace(/[`\r\n]/g, "?") + "`"; }

function markdown(incidents) {
  return incidents.map((i) => [
    `## ${plain(i.kinds.join(", "))}: ${i.clients.slice(0, 3).map(code).join(", ")}`,
    "", plain(i.sentence), "",
    `- incident ${code(i.incident_id)}, ${plain(i.severity)}, score ${i.score.toFixed(3)}, ${plain(i.status)}`,
    `- from ${i.first} to ${i.last}, raised ${i.raised}`,
    `- entities: ${i.entities.slice(0, 12).map(code).join(", ")}${i.entities.length > 12 ? " …" : ""}`,
    ...i.evidence.filter((e) => e.adds > 0).slice(0, 6).map((e) => `- ${plain(e.says)} (${plain(e.about)}, adds ${e.adds.toFixed(1)})`),
    "", ...i.next.map((step) => `- [ ] ${plain(step)}`), "",
  ].join("\n")).join("\n");
}

async function put(text) {
  const area = byId("copied");
  area.value = text;
  area.hidden = false;
  try { await navigator.clipboard.writeText(text); } catch { area.focus(); area.select(); document.execCommand("copy"); }
}

// --- start -----------------------------------------------------------------------------------------------------

for (const kind of [...new Set(data.incidents.flatMap((i) => i.kinds))].sort()) byId("kind").append(make("option", kind));
for (const severity of SEVERITIES) byId("severity").append(make("option", severity));
for (const [name, label] of COLUMNS) {
  const cell = make("th"), button = make("button", label);
  button.type = "button";
  button.addEventListener("click", () => { state.down = state.sort === name ? !state.down : name !== "raised"; state.sort = name; refresh(); });
  cell.append(button);
  byId("list").tHead.rows[0].append(cell);
}
for (const id of ["query", "kind", "severity"]) byId(id).addEventListener("input", refresh);
byId("markdown").addEventListener("click", () => put(markdown(state.shown.slice(0, 50))));
document.addEventListener("keydown", (e) => { if (e.key === "/" && e.target === document.body) { e.preventDefault(); byId("query").focus(); } });
const left = data.all - data.incidents.length;
byId("about").textContent = left > 0 ? `The ${data.incidents.length} with the highest scores of ${data.all}.` : "";
tally("kinds", (i) => i.kinds, (name) => { byId("kind").value = name; refresh(); });
tally("clients", (i) => i.clients, (name) => { state.client = state.client === name ? "" : name; refresh(); });
refresh();
document.documentElement.dataset.ready = "1";
