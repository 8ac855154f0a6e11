"use strict";
// Texts of the data go into the page as text nodes only, never as markup.
const DATA = JSON.parse(document.getElementById("data").textContent);
const PAGE = 50;
const COLOURS = ["#8a8a8a", "#1f6fb2", "#d1495b", "#2e933c", "#e08e0b", "#7b4b94", "#00798c", "#5d2e0d"];
const $ = (id) => document.getElementById(id);
const LAYOUT = { margin: { t: 30, r: 20 }, height: 340, font: { family: "system-ui, sans-serif" }, hovermode: "closest" };

function make(tag, text, name) {
  const element = document.createElement(tag);
  if (text !== undefined && text !== null) element.textContent = text;
  if (name) element.className = name;
  return element;
}

function fill(select, values, chosen) {
  select.replaceChildren(...values.map(([value, label]) => {
    const option = make("option", label);
    option.value = value;
    option.selected = value === chosen;
    return option;
  }));
}

const named = (values) => values.map((value) => [String(value), String(value)]);
const plain = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

function draw(id, traces, layout) {
  // Plotly reads a few tags in names: what comes from the data is escaped
  Plotly.react($(id), traces, { ...LAYOUT, ...layout }, { responsive: true, displaylogo: false });
}

// ---- learning curves

function terms() {
  const found = new Set();
  for (const of of Object.values(DATA.curves)) for (const term of Object.keys(of)) found.add(term);
  return [...found].sort((a, b) => (a === "loss" ? -1 : b === "loss" ? 1 : a.localeCompare(b)));
}

// One colour a system, whatever its seed.
function colour(system) {
  const systems = [...(DATA.systems || []), ...Object.keys(DATA.curves).map(systemOf)];
  return COLOURS[[...new Set(systems)].indexOf(system) % COLOURS.length];
}

function systemOf(experiment) {
  return experiment.replace(/_seed\d+$/, "");
}

function drawCurves() {
  const term = $("term").value, traces = [], known = new Set();
  for (const [name, of] of Object.entries(DATA.curves)) {
    for (const part of ["valid", "train"]) {
      const values = (of[term] || {})[part], system = systemOf(name);
      if (!values) continue;
      const epochs = Object.keys(values).map(Number).sort((a, b) => a - b);
      traces.push({
        x: epochs, y: epochs.map((epoch) => values[epoch]), name: plain(system), legendgroup: system,
        showlegend: !known.has(system), mode: epochs.length > 1 ? "lines" : "markers", text: `${plain(name)}, ${part}`,
        line: { color: colour(system), dash: part === "valid" ? "solid" : "dot", width: part === "valid" ? 2 : 1 },
        hovertemplate: "%{text}<br>epoch %{x}: %{y:.4g}<extra></extra>",
      });
      known.add(system);
    }
  }
  draw("curve", traces, { xaxis: { title: { text: "epoch" } },
    yaxis: { title: { text: plain(term) }, type: $("logarithmic").checked ? "log" : "linear" } });
}

// ---- table: each seed

function errorRate(set, system, seed) {
  const run = set.runs[`${system} ${seed}`];
  return 100 * run.reduce((sum, one) => sum + one[2], 0) / set.units.reduce((sum, n) => sum + n, 0);
}

function drawSeeds() {
  const traces = DATA.systems.map((system) => {
    const x = [], y = [], text = [];
    for (const set of DATA.sets) for (const seed of DATA.seeds) {
      x.push(plain(set.name)); y.push(errorRate(set, system, seed)); text.push(`seed ${seed}`);
    }
    return { x, y, text, name: plain(system), mode: "markers", marker: { color: colour(system), size: 10, opacity: 0.8 },
      hovertemplate: "%{fullData.name}, %{text}: %{y:.2f} %<extra></extra>" };
  });
  draw("seeds", traces, { scattermode: "group", xaxis: { title: { text: "test set" } }, yaxis: { title: { text: "errors of each seed, %" }, rangemode: "tozero" } });
}

// ---- utterances

let shown = [], place = 0;

function units(text, set) {
  return set.unit === "words" ? text.split(" ").filter(Boolean) : Array.from(text);
}

// Columns of a reference: position -> what a system has there; insertions before position i are in extra[i].
function columns(reference, found, edits, set) {
  const words = units(found, set), cells = [], extra = Array.from({ length: reference.length + 1 }, () => []);
  let here = 0;
  for (const [, sign, count] of edits.matchAll(/([=~+-])(\d+)/g)) {
    for (let i = 0; i < Number(count); i++) {
      if (sign === "+") extra[cells.length].push(words[here++]);
      else if (sign === "-") cells.push(["∅", "del"]);
      else cells.push([words[here++], sign === "~" ? "sub" : ""]);
    }
  }
  return { cells, extra };
}

function aligned(set, index, seed) {
  const reference = units(set.references[index], set);
  const rows = DATA.systems.map((system) => {
    const [text, edits] = set.runs[`${system} ${seed}`][index];
    return { system, ...columns(reference, text, edits, set) };
  });
  const widths = reference.concat([""]).map((_, i) => Math.max(0, ...rows.map((row) => row.extra[i].length)));
  const table = make("table");
  const add = (name, cells, extra, kind) => {
    const row = table.insertRow();
    row.className = kind;
    row.append(make("th", name));
    for (let i = 0; i <= reference.length; i++) {
      for (let j = 0; j < widths[i]; j++) row.append(make("td", extra ? extra[i][j] || "" : "", extra && extra[i][j] ? "ins" : ""));
      if (i < reference.length) row.append(make("td", cells[i][0], cells[i][1]));
    }
  };
  add("reference", reference.map((word) => [word, ""]), null, "reference");
  for (const row of rows) add(row.system, row.cells, row.extra, "");
  const box = make("div", null, "aligned");
  box.append(table);
  return box;
}

function timing(set, index, seed, audio) {
  const box = document.createDocumentFragment(), length = 1000 * set.seconds[index];
  for (const system of DATA.systems) {
    const [tokens, times] = (set.timing[`${system} ${seed}`] || [])[index] || [[], []];
    if (!tokens.length || !length) continue;
    const strip = make("div", null, "timing");
    tokens.forEach((token, i) => {
      const button = make("button", token);
      button.type = "button";
      button.title = `${system}: ${times[i]} ms`;
      button.style.left = `${Math.min(98, 100 * times[i] / length)}%`;
      button.onclick = () => { if (audio) { audio.currentTime = times[i] / 1000; audio.play(); } };
      strip.append(button);
    });
    box.append(make("small", system), strip);
  }
  return box;
}

// CTC posteriors as a map of tokens over time; CIF's weights as bars, a line where it fires.
function pictures(box, set, index, audio) {
  for (const [system, one] of Object.entries(set.pictures[index])) {
    const seconds = (frame) => (frame + 0.5) * one.step_ms / 1000, chart = make("div", null, "chart"), traces = [], shapes = [];
    const tall = one.tokens.length ? 90 + 16 * one.tokens.length : 0, cif = one.weights.length > 0;
    if (one.tokens.length) traces.push({ type: "heatmap", z: one.probabilities, x: one.probabilities[0].map((_, t) => seconds(t)), y: one.tokens.map((_, i) => i),
      text: one.tokens.map((token) => one.probabilities[0].map(() => plain(token))), colorscale: [[0, "#ffffff"], [1, colour(system)]], zmin: 0, zmax: 1, showscale: false,
      hovertemplate: "%{text}, %{x:.2f} s: %{z:.2f}<extra></extra>", yaxis: "y" });
    if (cif) {
      traces.push({ type: "bar", x: one.weights.map((_, t) => seconds(t)), y: one.weights, marker: { color: colour(system) }, hovertemplate: "%{x:.2f} s: weight %{y:.3f}<extra></extra>", yaxis: one.tokens.length ? "y2" : "y" });
      for (const frame of one.fires) shapes.push({ type: "line", x0: seconds(frame), x1: seconds(frame), y0: 0, y1: 1, yref: one.tokens.length ? "y2 domain" : "y domain", line: { color: "#d1495b", width: 1 } });
    }
    const rows = { tickvals: one.tokens.map((_, i) => i), ticktext: one.tokens.map(plain), autorange: "reversed", title: { text: "CTC" }, fixedrange: true };
    const bars = { title: { text: "CIF" }, rangemode: "tozero", fixedrange: true };
    const layout = one.tokens.length ? { yaxis: { ...rows, domain: cif ? [0.4, 1] : [0, 1] }, ...(cif ? { yaxis2: { ...bars, domain: [0, 0.3] } } : {}) } : { yaxis: bars };
    box.append(make("small", `${system}, seed ${DATA.seeds[0]}`), chart);
    Plotly.react(chart, traces, { ...LAYOUT, ...layout, shapes, height: Math.max(220, tall + (cif ? 140 : 0)), showlegend: false,
      xaxis: { title: { text: "seconds" }, range: [0, Math.max(set.seconds[index] || 0, seconds((one.probabilities[0] || one.weights).length))] } }, { responsive: true, displaylogo: false });
    chart.on("plotly_click", (event) => { if (audio) { audio.currentTime = Math.max(0, event.points[0].x - 0.1); audio.play(); } });
  }
}

function current() {
  return DATA.sets.find((set) => set.name === $("set").value);
}

function change(set, index) {
  const of = (system) => set.runs[`${system} ${$("seed").value}`][index][2];
  return of($("system").value) - of($("against").value);
}

function verdict(by) {
  if (by === 0) return "as many errors";
  const count = Math.abs(by);
  return `${count} ${count === 1 ? "error" : "errors"} ${by < 0 ? "fewer" : "more"}`;
}

function utterance(set, index) {
  const by = change(set, index), box = make("div", null, `utterance ${by < 0 ? "better" : by > 0 ? "worse" : "equal"}`);
  const head = make("div", null, "head");
  head.append(make("span", set.ids[index], "id"));
  if (set.speakers[index]) head.append(make("span", set.speakers[index]));
  if (set.seconds[index]) head.append(make("span", `${set.seconds[index].toFixed(1)} s`));
  head.append(make("span", verdict(by), "verdict"));
  let audio = null;
  if (set.audio[index]) {
    audio = make("audio");
    audio.controls = true;
    audio.preload = "none";
    audio.src = set.audio[index];
    head.append(audio);
  }
  box.append(head, aligned(set, index, $("seed").value));
  if (set.pictures[index]) {
    const details = make("details", null, "pictured");
    details.append(make("summary", "CTC and CIF"));
    details.ontoggle = () => {
      if (!details.open || details.childElementCount > 1) return;
      const box = make("div", null, "pictures");
      details.append(box); // before it is drawn: charts are as wide as what they stand in
      pictures(box, set, index, audio);
    };
    box.append(details);
  }
  if (Object.keys(set.timing).length) {
    const details = make("details");
    details.append(make("summary", "times of tokens"));
    details.ontoggle = () => {
      if (details.open && details.childElementCount === 1) details.append(timing(set, index, $("seed").value, audio));
    };
    box.append(details);
  }
  return box;
}

const KEEPS = {
  all: () => true,
  better: (set, i) => change(set, i) < 0,
  worse: (set, i) => change(set, i) > 0,
  equal: (set, i) => change(set, i) === 0,
  wrong: (set, i) => set.runs[`${$("system").value} ${$("seed").value}`][i][2] > 0,
  pictured: (set, i) => i in set.pictures,
  differing: (set, i) => set.runs[`${$("system").value} ${$("seed").value}`][i][0] !== set.runs[`${$("against").value} ${$("seed").value}`][i][0],
};

const ORDERS = {
  change: (set) => (a, b) => Math.abs(change(set, b)) - Math.abs(change(set, a)),
  errors: (set) => (a, b) => set.runs[`${$("system").value} ${$("seed").value}`][b][2] - set.runs[`${$("system").value} ${$("seed").value}`][a][2],
  length: (set) => (a, b) => set.units[b] - set.units[a],
};

function filter() {
  const set = current(), search = $("search").value.trim().toLowerCase(), speaker = $("speaker").value, keep = KEEPS[$("outcome").value];
  const texts = DATA.systems.map((system) => set.runs[`${system} ${$("seed").value}`]);
  shown = [];
  for (let i = 0; i < set.ids.length; i++) {
    if (speaker && set.speakers[i] !== speaker) continue;
    if (!keep(set, i)) continue;
    if (search && ![set.ids[i], set.references[i], ...texts.map((run) => run[i][0])].some((text) => text.toLowerCase().includes(search))) continue;
    shown.push(i);
  }
  if ($("order").value !== "file") shown.sort(ORDERS[$("order").value](set));
  place = 0;
  list();
}

function list() {
  const set = current(), pages = Math.max(1, Math.ceil(shown.length / PAGE));
  place = Math.min(Math.max(place, 0), pages - 1);
  $("list").replaceChildren(...shown.slice(place * PAGE, (place + 1) * PAGE).map((index) => utterance(set, index)));
  $("count").textContent = `${shown.length} of ${set.ids.length} utterances`;
  $("place").textContent = `page ${place + 1} of ${pages}`;
  $("previous").disabled = place === 0;
  $("next").disabled = place === pages - 1;
}

function chooseSet() {
  const speakers = [...new Set(current().speakers)].filter(Boolean).sort();
  fill($("speaker"), [["", "all"], ...named(speakers)], "");
  filter();
}

// ---- what changed

function confused(table, pairs) {
  table.replaceChildren();
  const head = table.createTHead().insertRow();
  for (const name of ["reference", "recognised", DATA.baseline, $("changed-system").value]) head.append(make("th", name));
  const body = table.createTBody();
  for (const pair of pairs) {
    const row = body.insertRow();
    for (const value of [pair.reference, pair.found, pair.before, pair.after]) row.append(make("td", value));
  }
  if (!pairs.length) body.insertRow().append(make("td", "none"));
}

function grouped(id, group) {
  $(id).hidden = !group;
  if (!group) return;
  const line = group.axis === "speaker" ? { mode: "markers" } : { mode: "lines+markers" };
  const traces = DATA.systems.map((system) => ({
    x: group.labels.map(plain), y: group.rates[system].map((rate) => rate === null ? null : 100 * rate), ...line,
    name: plain(system), marker: { color: colour(system), size: 8 }, line: { color: colour(system) },
    text: group.utterances.map((n) => `${n} utterances`), hovertemplate: "%{fullData.name}, %{x}: %{y:.1f} %, %{text}<extra></extra>",
  }));
  draw(id, traces, { xaxis: { type: "category", automargin: true, title: { text: plain(group.axis) } }, yaxis: { title: { text: "errors, %" }, rangemode: "tozero" } });
}

function drawChanges() {
  const set = DATA.sets.find((one) => one.name === $("changed-set").value);
  const [fewer, more] = set.confusions[$("changed-system").value] || [[], []];
  confused($("fewer"), fewer);
  confused($("more"), more);
  for (const kind of ["length", "noise", "speaker"]) grouped(`by-${kind}`, set.groups[kind]);
}

// ---- start

fill($("term"), named(terms()), "loss");
$("term").onchange = $("logarithmic").onchange = drawCurves;
drawCurves();
if (DATA.sets.length) {
  for (const set of DATA.sets) set.units = set.references.map((text) => units(text, set).length);
  const others = DATA.systems.filter((system) => system !== DATA.baseline);
  const system = others.length ? others[others.length - 1] : DATA.baseline;
  fill($("set"), named(DATA.sets.map((set) => set.name)));
  fill($("seed"), named(DATA.seeds));
  fill($("system"), named(DATA.systems), system);
  fill($("against"), named(DATA.systems), DATA.baseline);
  fill($("changed-set"), named(DATA.sets.map((set) => set.name)));
  fill($("changed-system"), named(others.length ? others : DATA.systems), system);
  document.querySelectorAll(".baseline").forEach((one) => { one.textContent = DATA.baseline; });
  $("set").onchange = chooseSet;
  for (const id of ["seed", "system", "against", "outcome", "speaker", "order"]) $(id).onchange = filter;
  $("search").oninput = filter;
  $("previous").onclick = () => { place--; list(); };
  $("next").onclick = () => { place++; list(); };
  $("changed-set").onchange = $("changed-system").onchange = drawChanges;
  drawSeeds();
  drawChanges();
  chooseSet();
}
document.body.dataset.ready = "true";
