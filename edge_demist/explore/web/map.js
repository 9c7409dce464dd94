"use strict";
/* The page's script: draws the points, searches, selects. Reads one block of data (see page.py for its layout), asks for nothing else.
   Names are untrusted: they reach the page through textContent and fillText alone. World coordinates run from 0 to 65535. */

const WORLD = 65536, LISTED = 200, CELLS = 256;
const el = (id) => document.getElementById(id);

// ---- data -----------------------------------------------------------------------------------------------------------------------------

/** The bytes of the data block: base64, then deflate. */
async function unpack(text) {
  const raw = atob(text.trim()), bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** Typed columns, and one string with all names: row i is names.slice(start[i], start[i + 1]). */
function parse(bytes) {
  const size = new DataView(bytes.buffer).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + size)));
  const n = head.count;
  let at = 4 + size;
  const column = () => { // the high bytes, then the low bytes
    const out = new Uint16Array(n);
    for (let i = 0; i < n; i++) out[i] = (bytes[at + i] << 8) | bytes[at + n + i];
    at += 2 * n;
    return out;
  };
  const data = { head, n, x: column(), y: column(), group: column(), value: column(), times: column(), status: null };
  data.status = bytes.subarray(at, at += n);
  const length = column(), start = new Uint32Array(n + 1), text = bytes.subarray(at), folded = text.slice();
  for (let i = 0, b = 0, units = 0; i < n; i++) {
    start[i] = units;
    for (const end = b + length[i]; b < end; b++) {
      const c = text[b];
      if ((c & 0xc0) !== 0x80) units += c >= 0xf0 ? 2 : 1; // UTF-16 units of a character, counted at its first byte
      if (c >= 65 && c <= 90) folded[b] = c + 32;
    }
    start[i + 1] = units;
  }
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  return Object.assign(data, { start, names: decoder.decode(text), folded: decoder.decode(folded) });
}

const nameOf = (data, i) => data.names.slice(data.start[i], data.start[i + 1]);

/** Rows by cell of a CELLS x CELLS grid: those of cell c are order[first[c]] .. order[first[c + 1] - 1]. */
function gridOf(data) {
  const first = new Uint32Array(CELLS * CELLS + 1), order = new Uint32Array(data.n);
  const cell = (i) => (data.y[i] >> 8) * CELLS + (data.x[i] >> 8);
  for (let i = 0; i < data.n; i++) first[cell(i) + 1]++;
  for (let c = 0; c < CELLS * CELLS; c++) first[c + 1] += first[c];
  const next = first.slice();
  for (let i = 0; i < data.n; i++) order[next[cell(i)]++] = i;
  return { first, order };
}

// ---- questions ------------------------------------------------------------------------------------------------------------------------

/** Rows whose name holds the text (upper and lower case of a to z alike), or matches the regular expression. */
function search(data, query, asRegex) {
  const found = [];
  if (asRegex) {
    const regex = new RegExp(query, "iu");
    for (let i = 0; i < data.n; i++) if (regex.test(nameOf(data, i))) found.push(i);
    return found;
  }
  const wanted = query.replace(/[A-Z]/g, (c) => c.toLowerCase());
  for (let i = 0, at = 0; (at = data.folded.indexOf(wanted, at)) >= 0; ) {
    i = rowAt(data.start, at, i);
    if (at + wanted.length <= data.start[i + 1]) { found.push(i); at = data.start[i + 1]; } else at++;
  }
  return found;
}

/** The last row that starts at or before a position; rows with an empty name never hold one. */
function rowAt(start, position, low) {
  let high = start.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (start[middle] <= position) low = middle; else high = middle;
  }
  return low;
}

/** Rows inside a polygon of world coordinates [[x, y], ...] (even-odd rule). */
function inside(data, polygon, shown) {
  const found = [];
  for (let i = 0; i < data.n; i++) {
    if (!shown(i)) continue;
    let odd = false;
    for (let a = 0, b = polygon.length - 1; a < polygon.length; b = a++) {
      const [ax, ay] = polygon[a], [bx, by] = polygon[b], py = data.y[i];
      if (ay > py !== by > py && data.x[i] < ((bx - ax) * (py - ay)) / (by - ay) + ax) odd = !odd;
    }
    if (odd) found.push(i);
  }
  return found;
}

/** Visible rows within a distance of a place, nearest first, at most `most`. */
function near(data, grid, x, y, reach, most, shown) {
  const found = [], low = (v) => Math.max(0, (v - reach) >> 8), high = (v) => Math.min(CELLS - 1, (v + reach) >> 8);
  for (let cy = low(y); cy <= high(y); cy++)
    for (let k = grid.first[cy * CELLS + low(x)], end = grid.first[cy * CELLS + high(x) + 1]; k < end; k++) {
      const i = grid.order[k], d = (data.x[i] - x) ** 2 + (data.y[i] - y) ** 2;
      if (d <= reach * reach && shown(i)) found.push([d, i]);
    }
  return found.sort((a, b) => a[0] - b[0] || a[1] - b[1]).slice(0, most).map((pair) => pair[1]);
}

/** Rows as CSV; a name that a spreadsheet would run as a formula gets an apostrophe before it. */
function csv(data, rows) {
  const quoted = (text) => `"${(/^[=+\-@\t\r]/.test(text) ? "'" : "") + text.replaceAll('"', '""')}"`;
  const lines = rows.map((i) => [quoted(nameOf(data, i)), quoted(data.head.groups[data.group[i]].name), valueText(data, i), data.times[i],
    ["", "new", "gone"][data.status[i]], (data.x[i] / WORLD).toFixed(5), (data.y[i] / WORLD).toFixed(5)].join(","));
  return ["name,group,value,times,status,x,y", ...lines].join("\r\n") + "\r\n";
}

/** The number behind a point's colour, as text; empty where there is none. */
function valueText(data, i) {
  const { value: kind, low, high } = data.head, step = data.value[i];
  if (!kind || step === 65535) return "";
  const number = low + ((high - low) * step) / 65534;
  return kind === "time" ? new Date(number * 1000).toISOString().slice(0, 16) + "Z" : number.toPrecision(4);
}

// ---- the view -------------------------------------------------------------------------------------------------------------------------

const view = { x: WORLD / 2, y: WORLD / 2, zoom: 0 }; // the world's place in the middle, and log2 of the magnification
const state = { data: null, grid: null, on: null, hits: null, chosen: [], active: -1, lasso: null, lassoing: false, pointers: new Map() };
let base = 1, ratio = 1, dirty = false, land = null;

const scale = () => base * 2 ** view.zoom;
const toScreen = (x, y) => [(x - view.x) * scale() + el("points").width / 2, (y - view.y) * scale() + el("points").height / 2];
const toWorld = (px, py) => [(px - el("points").width / 2) / scale() + view.x, (py - el("points").height / 2) / scale() + view.y];
const shown = (i) => state.on[state.data.group[i]] === 1;
const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function resize() {
  const box = el("stage").getBoundingClientRect();
  ratio = window.devicePixelRatio || 1;
  for (const id of ["land", "points", "names"]) Object.assign(el(id), { width: Math.max(1, box.width * ratio), height: Math.max(1, box.height * ratio) });
  base = Math.min(el("points").width, el("points").height) / WORLD;
  redraw();
}

function redraw() {
  if (dirty) return;
  dirty = true;
  requestAnimationFrame(() => { dirty = false; draw(); });
}

function draw() {
  if (!state.data) return;
  drawLand();
  drawPoints();
  drawNames();
}

/** Where strings of the corpus lie: the atlas's landmarks, drawn once as soft dots and stretched. */
function drawLand() {
  const context = el("land").getContext("2d");
  context.clearRect(0, 0, el("land").width, el("land").height);
  if (!land) {
    land = Object.assign(document.createElement("canvas"), { width: 1024, height: 1024 });
    const ink = land.getContext("2d"), marks = state.data.head.land;
    ink.fillStyle = style("--land");
    ink.beginPath(); // one path, so that dots which overlap do not add up
    for (let i = 0; i < marks.length; i += 2) {
      ink.moveTo(marks[i] / 4 + 9, marks[i + 1] / 4);
      ink.arc(marks[i] / 4, marks[i + 1] / 4, 9, 0, 7);
    }
    ink.fill();
  }
  const [x, y] = toScreen(0, 0), side = WORLD * scale();
  context.drawImage(land, x, y, side, side);
}

/** One pass over all rows straight into pixels: half of what was there, half of the new colour. */
function drawPoints() {
  const canvas = el("points"), context = canvas.getContext("2d"), { width, height } = canvas, { data, hits } = state;
  const image = context.createImageData(width, height), pixels = new Uint32Array(image.data.buffer);
  const colours = data.head.groups.map((group) => pixelOf(group.colour)), s = scale();
  const left = width / 2 - view.x * s, top = height / 2 - view.y * s;
  const size = Math.max(1, Math.min(9, Math.round(ratio * (data.n > 300000 ? 1 : data.n > 50000 ? 1.6 : 2.4) * 1.35 ** Math.max(0, view.zoom))));
  const dot = (i, colour, side) => {
    const px = (data.x[i] * s + left - side / 2) | 0, py = (data.y[i] * s + top - side / 2) | 0;
    if (px < 0 || py < 0 || px + side > width || py + side > height) return;
    const corner = side > 3 ? 1 : 0; // larger dots lose their corners
    for (let v = 0; v < side; v++) {
      const cut = corner && (v === 0 || v === side - 1) ? 1 : 0;
      for (let k = (py + v) * width + px + cut, end = k + side - 2 * cut; k < end; k++) {
        const old = pixels[k];
        pixels[k] = old ? (((old >>> 1) & 0x7f7f7f7f) + ((colour >>> 1) & 0x7f7f7f7f)) | 0x01000000 : colour;
      }
    }
  };
  const faint = (colour) => (colour & 0xffffff) | 0x38000000;
  for (let i = 0; i < data.n; i++) {
    if (state.on[data.group[i]] !== 1) continue;
    const colour = colours[data.group[i]];
    if (hits ? !hits[i] : data.status[i] === 2) dot(i, faint(colour), size);
    else if (!hits && data.status[i] !== 1) dot(i, colour, size);
  }
  for (let i = 0; i < data.n; i++) { // hits and new names last, on top, with a glow
    if (state.on[data.group[i]] !== 1 || !(hits ? hits[i] : data.status[i] === 1)) continue;
    dot(i, faint(colours[data.group[i]]), size + 6);
    dot(i, colours[data.group[i]], size + 1);
  }
  context.putImageData(image, 0, 0);
}

/** "#rrggbb" as a pixel of ImageData. */
function pixelOf(colour) {
  const rgb = parseInt(colour.slice(1), 16);
  return (0xff000000 | ((rgb & 255) << 16) | (rgb & 0xff00) | (rgb >> 16)) >>> 0;
}

/** Names of regions that fit and do not overlap, larger ones first; rings around the chosen; the lasso. */
function drawNames() {
  const canvas = el("names"), context = canvas.getContext("2d"), taken = [], said = new Set();
  context.clearRect(0, 0, canvas.width, canvas.height);
  Object.assign(context, { textAlign: "center", textBaseline: "middle", lineJoin: "round", strokeStyle: style("--halo"), fillStyle: style("--ink") });
  for (const region of state.data.head.regions) {
    if (region.level > view.zoom + 0.9 || said.has(region.name)) continue;
    const size = (region.level === 0 ? 19 : 14 - region.level) * ratio, [x, y] = toScreen(region.x, region.y);
    context.font = `${region.level === 0 ? 600 : 500} ${size}px system-ui, sans-serif`;
    const half = context.measureText(region.name).width / 2 + 5, box = [x - half, y - size, x + half, y + size];
    if (box[2] < 0 || box[0] > canvas.width || box[3] < 0 || box[1] > canvas.height) continue;
    if (taken.some((t) => box[0] < t[2] && box[2] > t[0] && box[1] < t[3] && box[3] > t[1])) continue;
    taken.push(box);
    said.add(region.name);
    context.lineWidth = 4 * ratio;
    context.strokeText(region.name, x, y);
    context.fillText(region.name, x, y);
  }
  context.strokeStyle = style("--ink");
  context.lineWidth = 1.5 * ratio;
  for (const i of [...state.chosen.slice(0, 2000), ...(state.active < 0 ? [] : [state.active])]) {
    const [x, y] = toScreen(state.data.x[i], state.data.y[i]);
    context.beginPath();
    context.arc(x, y, (i === state.active ? 9 : 4) * ratio, 0, 7);
    context.stroke();
  }
  if (state.lasso) {
    context.beginPath();
    for (const [x, y] of state.lasso) context.lineTo(...toScreen(x, y));
    context.closePath();
    context.stroke();
  }
}

// ---- the list beside the map ----------------------------------------------------------------------------------------------------------

/** What the list holds: the lasso's names, else the search's, else those nearest to the middle. */
function listed() {
  if (state.chosen.length) return { rows: state.chosen, what: "inside the lasso" };
  if (state.hits) return { rows: state.found.filter(shown), what: "found" };
  const most = Math.max(el("points").width, el("points").height) / 2 / scale();
  let rows, reach = 128; // a crowded middle fills the list at once
  do rows = near(state.data, state.grid, view.x, view.y, Math.min(reach, most), LISTED, shown);
  while (rows.length < LISTED && (reach *= 2) < 2 * most);
  return { rows, what: "nearest to the middle" };
}

function fillList() {
  const { rows, what } = listed(), list = el("list");
  el("count").textContent = `${rows.length.toLocaleString("en")} names ${what}${rows.length > LISTED ? `; ${LISTED} shown` : ""}`;
  list.replaceChildren(...rows.slice(0, LISTED).map((i) => {
    const item = document.createElement("li"), name = document.createElement("bdi");
    name.textContent = nameOf(state.data, i);
    item.append(name);
    Object.assign(item, { id: `row-${i}`, role: "option", tabIndex: -1, title: describe(i) });
    item.setAttribute("aria-selected", String(i === state.active));
    item.addEventListener("click", () => choose(i, true));
    return item;
  }));
}

const describe = (i) => [state.data.head.groups[state.data.group[i]].name, valueText(state.data, i),
  state.data.times[i] > 1 ? `${state.data.times[i]} times` : "", ["", "new", "gone"][state.data.status[i]]].filter(Boolean).join(" · ");

/** Make a row the active one; `go`: bring it into the middle. */
function choose(i, go) {
  state.active = i;
  el("detail").replaceChildren();
  if (i >= 0) {
    const name = document.createElement("bdi"), about = document.createElement("small");
    name.textContent = nameOf(state.data, i);
    about.textContent = describe(i);
    el("detail").append(name, about);
    if (go) Object.assign(view, { x: state.data.x[i], y: state.data.y[i], zoom: Math.max(view.zoom, 3) });
    el("list").setAttribute("aria-activedescendant", `row-${i}`);
    for (const item of el("list").children) item.setAttribute("aria-selected", String(item.id === `row-${i}`));
  }
  moved();
}

function find() {
  const query = el("query").value, asRegex = el("regex").checked;
  state.hits = state.found = null;
  el("query").setCustomValidity("");
  try {
    if (query) {
      state.found = search(state.data, query, asRegex);
      state.hits = new Uint8Array(state.data.n);
      for (const i of state.found) state.hits[i] = 1;
    }
  } catch (error) {
    el("query").setCustomValidity(String(error.message));
    el("query").reportValidity();
  }
  state.chosen = [];
  fillList();
  moved();
}

function legend() {
  const { groups, legend: title } = state.data.head;
  el("legend-title").textContent = title;
  el("legend").replaceChildren(...groups.map((group, k) => {
    const label = document.createElement("label"), box = document.createElement("input"), patch = document.createElement("i"), text = document.createElement("span");
    Object.assign(box, { type: "checkbox", checked: state.on[k] === 1 });
    box.addEventListener("change", () => { state.on[k] = box.checked ? 1 : 0; fillList(); moved(); });
    patch.style.background = group.colour;
    text.textContent = `${group.name} (${group.count.toLocaleString("en")})`;
    label.append(box, patch, text);
    return label;
  }));
}

// ---- permalink ------------------------------------------------------------------------------------------------------------------------

let waiting = 0;
/** After every change: draw, and a moment later the list and the address. */
function moved() {
  redraw();
  clearTimeout(waiting);
  waiting = setTimeout(() => {
    if (!state.chosen.length && !state.hits) fillList();
    const off = [...state.on.keys()].filter((k) => !state.on[k]);
    const parts = { x: Math.round(view.x), y: Math.round(view.y), z: view.zoom.toFixed(2), q: el("query").value, re: el("regex").checked ? 1 : "", off: off.join("."), i: state.active < 0 ? "" : state.active };
    history.replaceState(null, "", "#" + new URLSearchParams(Object.entries(parts).filter(([, v]) => v !== "")).toString());
  }, 150);
}

function restore() {
  const asked = new URLSearchParams(location.hash.slice(1)), number = (key, low, high, other) => {
    const value = Number(asked.get(key) ?? NaN);
    return Number.isFinite(value) ? Math.min(high, Math.max(low, value)) : other;
  };
  const middle = state.data.head.start;
  Object.assign(view, { x: number("x", 0, WORLD, middle.x), y: number("y", 0, WORLD, middle.y), zoom: number("z", -1, 12, middle.zoom) });
  state.on = new Uint8Array(state.data.head.groups.length).fill(1);
  for (const k of (asked.get("off") ?? "").split(".")) if (k !== "" && k in state.on) state.on[k] = 0;
  el("query").value = asked.get("q") ?? "";
  el("regex").checked = asked.get("re") === "1";
  state.active = number("i", -1, state.data.n - 1, -1) | 0;
}

// ---- hands ----------------------------------------------------------------------------------------------------------------------------

function zoomAt(px, py, by) {
  const [x, y] = toWorld(px, py);
  view.zoom = Math.min(12, Math.max(-1, view.zoom + by));
  const [nx, ny] = toWorld(px, py);
  pan(x - nx, y - ny);
}

function pan(dx, dy) {
  view.x = Math.min(WORLD, Math.max(0, view.x + dx));
  view.y = Math.min(WORLD, Math.max(0, view.y + dy));
  moved();
}

const at = (event) => {
  const box = el("stage").getBoundingClientRect();
  return [(event.clientX - box.left) * ratio, (event.clientY - box.top) * ratio];
};

function hovered(event) {
  const [px, py] = at(event), [i = -1] = near(state.data, state.grid, ...toWorld(px, py), (12 * ratio) / scale(), 1, shown), tip = el("tip");
  tip.hidden = i < 0;
  if (i >= 0) {
    tip.textContent = nameOf(state.data, i).slice(0, 300);
    Object.assign(tip.style, { left: `${Math.min(px / ratio + 14, el("stage").clientWidth - 260)}px`, top: `${py / ratio + 14}px` });
  }
  return i;
}

function hands() {
  const stage = el("stage"), pointers = state.pointers;
  let far = 0, gap = 0;
  stage.addEventListener("wheel", (event) => { event.preventDefault(); zoomAt(...at(event), -event.deltaY / 300); }, { passive: false });
  stage.addEventListener("pointerdown", (event) => {
    stage.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, at(event));
    far = gap = 0;
    if (event.shiftKey || state.lassoing) state.lasso = [toWorld(...at(event))];
  });
  stage.addEventListener("pointermove", (event) => {
    const before = pointers.get(event.pointerId), now = at(event);
    if (!before) return void hovered(event);
    far += Math.hypot(now[0] - before[0], now[1] - before[1]);
    pointers.set(event.pointerId, now);
    if (state.lasso) { state.lasso.push(toWorld(...now)); redraw(); return; }
    if (pointers.size === 1) return void pan((before[0] - now[0]) / scale(), (before[1] - now[1]) / scale());
    const [a, b] = [...pointers.values()], apart = Math.hypot(a[0] - b[0], a[1] - b[1]);
    if (gap) zoomAt((a[0] + b[0]) / 2, (a[1] + b[1]) / 2, Math.log2(apart / gap));
    gap = apart;
  });
  const up = (event) => {
    if (!pointers.delete(event.pointerId)) return;
    gap = 0;
    if (state.lasso) {
      state.chosen = state.lasso.length > 2 ? inside(state.data, state.lasso, shown) : [];
      state.lasso = null;
      lassoMode(false);
      fillList();
      moved();
    } else if (far < 4 * ratio && event.type === "pointerup") choose(hovered(event), false);
  };
  stage.addEventListener("pointerup", up);
  stage.addEventListener("pointercancel", up);
  stage.addEventListener("pointerleave", () => { el("tip").hidden = true; });
  stage.addEventListener("keydown", (event) => {
    const step = 60 / base / 2 ** view.zoom, keys = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    if (keys[event.key]) pan(...keys[event.key]);
    else if (event.key === "+" || event.key === "=") zoomAt(el("points").width / 2, el("points").height / 2, 0.5);
    else if (event.key === "-") zoomAt(el("points").width / 2, el("points").height / 2, -0.5);
    else if (event.key === "0") home();
    else return;
    event.preventDefault();
  });
  el("list").addEventListener("keydown", (event) => {
    const items = [...el("list").children], now = items.findIndex((item) => item.id === `row-${state.active}`);
    const next = { ArrowDown: now + 1, ArrowUp: now - 1, Home: 0, End: items.length - 1, Enter: now, " ": now }[event.key];
    if (next === undefined || !items.length) return;
    event.preventDefault();
    const item = items[Math.min(items.length - 1, Math.max(0, next))];
    choose(Number(item.id.slice(4)), event.key === "Enter" || event.key === " ");
    item.scrollIntoView({ block: "nearest" });
  });
  window.addEventListener("keydown", (event) => {
    if (event.target instanceof HTMLInputElement && event.key !== "Escape") return;
    if (event.key === "/") { event.preventDefault(); el("query").focus(); }
    if (event.key === "l") lassoMode(!state.lassoing);
    if (event.key === "Escape") clear();
  });
}

function home() {
  Object.assign(view, state.data.head.start);
  moved();
}

function lassoMode(on) {
  state.lassoing = on;
  el("lasso").setAttribute("aria-pressed", String(on));
  el("stage").classList.toggle("lassoing", on);
}

function clear() {
  el("query").value = "";
  Object.assign(state, { chosen: [], lasso: null, active: -1 });
  lassoMode(false);
  find();
  choose(-1, false);
}

function save() {
  const url = URL.createObjectURL(new Blob([csv(state.data, listed().rows)], { type: "text/csv" }));
  Object.assign(document.createElement("a"), { href: url, download: "names.csv" }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

function buttons() {
  let typing = 0;
  el("query").addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(find, 120); });
  el("regex").addEventListener("change", find);
  el("lasso").addEventListener("click", () => lassoMode(!state.lassoing));
  el("save").addEventListener("click", save);
  el("clear").addEventListener("click", clear);
  el("home").addEventListener("click", home);
  el("theme").addEventListener("click", () => {
    const dark = getComputedStyle(document.documentElement).colorScheme === "dark";
    document.documentElement.dataset.theme = dark ? "light" : "dark";
    land = null;
    redraw();
  });
  for (const [id, on] of [["all", 1], ["none", 0]]) el(id).addEventListener("click", () => { state.on.fill(on); legend(); fillList(); moved(); });
  window.addEventListener("hashchange", () => { restore(); legend(); find(); });
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { land = null; redraw(); });
  new ResizeObserver(resize).observe(el("stage"));
}

async function main() {
  const block = el("data");
  state.data = parse(await unpack(block.textContent));
  block.remove();
  state.grid = gridOf(state.data);
  restore();
  legend();
  hands();
  buttons();
  resize();
  draw();
  if (el("query").value) find(); else fillList();
  if (state.active >= 0) choose(state.active, false);
  document.documentElement.dataset.ready = "1";
}

main().catch((error) => { el("count").textContent = `This page cannot be shown: ${error.message}`; });
