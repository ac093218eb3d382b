"use strict";

// Everything here is a documented call of the API (docs/serve.md). Texts of users and of models
// reach the page as text nodes alone.

const $ = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";

function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "on") for (const [event, handle] of Object.entries(value)) node.addEventListener(event, handle);
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

// What does something instead of being read is shown as a symbol.
function shown(text) {
  return String(text).replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b\u2028-\u202e\u2060-\u206f\ufeff]/g, (sign) => {
    const code = sign.codePointAt(0);
    return code < 0x20 ? String.fromCodePoint(0x2400 + code) : code === 0x7f ? "\u2421" : `[U+${code.toString(16).toUpperCase().padStart(4, "0")}]`;
  });
}

const said = (text) => el("bdi", {}, shown(text));
const percent = (value) => (value === null || value === undefined ? "–" : value >= 10 ? `${value.toFixed(0)} ×` : `${(100 * value).toFixed(1)} %`);
const named = (model) => model.replace(/\/+$/, "").split("/").pop();
const short = (value, digits = 3) => (value === null || value === undefined ? "–" : Number(value).toPrecision(digits));
const when = (text) => (text ? new Date(text).toLocaleString() : "–");

// Asking the server

let token = sessionStorage.getItem("token") || "";
let asking = null;

async function call(method, path, body, options = {}) {
  const headers = {};
  if (token) headers.authorization = `Bearer ${token}`;
  if (body !== undefined && !options.raw) headers["content-type"] = "application/json";
  const response = await fetch(path, { method, headers, body: body === undefined ? undefined : options.raw ? body : JSON.stringify(body), signal: options.signal });
  if (response.status === 401) {
    await logIn();
    return call(method, path, body, options);
  }
  if (!response.ok) {
    const told = await response.json().catch(() => null);
    throw new Error(told?.error?.message || `The server answers ${response.status}.`);
  }
  return options.stream ? response : response.json();
}

function logIn() {
  asking ||= new Promise((resolve) => {
    const dialog = $("login");
    dialog.showModal();
    dialog.addEventListener("close", () => {
      token = $("token").value.trim();
      sessionStorage.setItem("token", token);
      asking = null;
      resolve();
    }, { once: true });
  });
  return asking;
}

let hiding = 0;
function complain(error) {
  const box = $("alert");
  box.textContent = shown(error.message || error);
  box.hidden = false;
  clearTimeout(hiding);
  hiding = setTimeout(() => { box.hidden = true; }, 12000);
}

function confirmed(title, text, action) {
  return new Promise((resolve) => {
    $("confirm-title").textContent = title;
    $("confirm-text").textContent = shown(text);
    $("confirm-yes").textContent = action;
    const dialog = $("confirm");
    dialog.returnValue = "no";
    dialog.showModal();
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

async function busy(button, text, work) {
  const before = button.textContent;
  button.disabled = true;
  button.textContent = text;
  try { return await work(); } catch (error) { complain(error); return null; }
  finally { button.disabled = false; button.textContent = before; }
}

// Tabs

const VIEWS = ["chat", "teach", "facts", "history", "health"];
const OPENED = { facts: () => listFacts(true), history: showHistory, health: showHealth };

function open(view, focus = false) {
  for (const each of VIEWS) {
    const tab = $(`tab-${each}`), is = each === view;
    tab.setAttribute("aria-selected", String(is));
    tab.tabIndex = is ? 0 : -1;
    $(`view-${each}`).hidden = !is;
    if (is && focus) tab.focus();
  }
  if (location.hash !== `#${view}`) history.replaceState(null, "", `#${view}`);
  OPENED[view]?.();
}

for (const view of VIEWS) $(`tab-${view}`).addEventListener("click", () => open(view));
$("tabs").addEventListener("keydown", (event) => {
  const at = VIEWS.findIndex((view) => $(`tab-${view}`).getAttribute("aria-selected") === "true");
  const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: VIEWS.length - 1 }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  open(VIEWS[(to + VIEWS.length) % VIEWS.length], true);
});
addEventListener("hashchange", () => { const view = location.hash.slice(1); if (VIEWS.includes(view)) open(view); });

// State of the server

let health = null;
async function look() {
  try {
    health = await call("GET", "/v1/health");
    const work = health.at_work ? ` · at work: ${health.at_work}` : "";
    const wait = health.waiting.facts ? ` · ${health.waiting.facts} facts wait` : "";
    const kind = health.status === "starting" ? "getting ready to be edited" : `turn ${health.turn}`;
    const told = `${named(health.model)} · ${kind}${work}${wait}${health.read_only ? " · read-only" : ""}`;
    if ($("state").textContent !== told) $("state").textContent = told;
    const closed = health.read_only || health.status !== "ready";
    for (const id of ["preview", "write"]) if (!$(id).dataset.busy) $(id).disabled = closed;
  } catch (error) {
    $("state").textContent = `The server does not answer: ${error.message}`;
  }
  setTimeout(look, document.hidden ? 10000 : 2500);
}

// Chat

async function stream(model, messages, settings, tell) {
  const body = { model, messages, max_tokens: settings.tokens, temperature: settings.temperature, seed: 0, stream: true };
  const response = await call("POST", "/v1/chat/completions", body, { stream: true });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "", text = "", version = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return { text, version };
    const parts = (rest + value).split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      const data = part.replace(/^data: /, "");
      if (data === "[DONE]") continue;
      const chunk = JSON.parse(data);
      if (chunk.error) throw new Error(chunk.error.message);
      version = chunk.system_fingerprint || version;
      text += chunk.choices[0]?.delta?.content || "";
      tell(text, version);
    }
  }
}

function answerBox(title, isNow) {
  const name = el("code"), text = el("p", { class: "busy" }, "…");
  const box = el("div", { class: isNow ? "answer now" : "answer" }, el("h3", {}, title, name), text);
  return { box, text, name };
}

async function fill(box, model, messages, settings) {
  try {
    const answer = await stream(model, messages, settings, (text, version) => {
      box.text.replaceChildren(said(text));
      box.name.textContent = version;
    });
    box.text.classList.remove("busy");
    if (!answer.text) box.text.replaceChildren(el("em", {}, "no answer"));
    return answer;
  } catch (error) {
    box.text.classList.remove("busy");
    box.text.textContent = error.message;
    return null;
  }
}

$("ask").addEventListener("submit", async (event) => {
  event.preventDefault();
  const question = $("question").value.trim();
  if (!question || !health) return;
  const settings = { tokens: Number($("tokens").value) || 48, temperature: Number($("temperature").value) || 0 };
  const system = $("system").value.trim();
  const messages = [...(system ? [{ role: "system", content: system }] : []), { role: "user", content: question }];
  const now = answerBox("Edited", true), before = answerBox("Unedited", false);
  const item = el("li", {}, el("p", { class: "question" }, said(question)), el("div", { class: "pair" }, now.box, before.box));
  $("talk-empty").hidden = true;
  $("talk").append(item);
  item.scrollIntoView({ block: "nearest" });
  $("question").value = "";
  const [answer, old] = await Promise.all([fill(now, health.model, messages, settings), fill(before, `${health.model}@0`, messages, settings)]);
  if (answer && old) {
    const [left, right] = compare(answer.text, old.text);
    if (answer.text) now.text.replaceChildren(left);
    if (old.text) before.text.replaceChildren(right);
    const same = answer.text === old.text;
    now.box.append(el("div", { class: "row" },
      el("span", { class: same ? "badge" : "badge warn" }, same ? "same as unedited" : "differs"),
      el("button", { type: "button", class: "small", on: { click: () => correct(question, answer.text) } }, "Teach the right answer")));
  }
});
$("question").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); $("ask").requestSubmit(); }
});

// Words of two texts, those that only one has marked: the longest common subsequence.
function compare(one, other) {
  const cut = (text) => shown(text).match(/\s+|[^\s]+/g) || [];
  const a = cut(one).slice(0, 600), b = cut(other).slice(0, 600);
  const longest = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i--) for (let j = b.length - 1; j >= 0; j--)
    longest[i][j] = a[i] === b[j] ? longest[i + 1][j + 1] + 1 : Math.max(longest[i + 1][j], longest[i][j + 1]);
  const left = el("bdi"), right = el("bdi");
  const put = (node, word, is) => {
    if (is) node.append(word);
    else if (node.lastChild?.nodeName === "MARK") node.lastChild.append(word);
    else node.append(el("mark", {}, word));
  };
  let i = 0, j = 0;
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) { put(left, a[i++], true); put(right, b[j++], true); }
    else if (j >= b.length || (i < a.length && longest[i + 1][j] >= longest[i][j + 1])) put(left, a[i++], false);
    else put(right, b[j++], false);
  }
  return [left, right];
}

// Teach

function correct(question, wrong) {
  $("prompt").value = question;
  $("target").value = wrong;
  open("teach");
  $("target").focus();
  $("target").select();
}

const listed = (id) => $(id).value.split("\n").map((line) => line.trim()).filter(Boolean);
const author = () => $("author").value.trim() || undefined;
$("author").value = localStorage.getItem("author") || "";
$("author").addEventListener("change", () => localStorage.setItem("author", $("author").value));

$("teach").addEventListener("submit", async (event) => {
  event.preventDefault();
  const preview = event.submitter?.id === "preview";
  const fact = { prompt: $("prompt").value.trim(), target: $("target").value.trim(), aliases: listed("aliases") };
  if (!fact.prompt || !fact.target) return;
  const button = $(preview ? "preview" : "write");
  button.dataset.busy = "yes";
  const result = await busy(button, preview ? "Working it out …" : "Writing …", () =>
    call("POST", `/v1/edits${preview ? "?preview=true" : ""}`, { edits: [fact], author: author() }));
  delete button.dataset.busy;
  if (!result) return;
  $("teach-result").replaceChildren(preview ? previewed(result) : written(result));
  if (!preview) $("teach").reset(), $("author").value = localStorage.getItem("author") || "";
});

function table(names, rows, kind = "") {
  const head = el("tr", {}, ...names.map((name) => el("th", { scope: "col", class: typeof name === "object" ? "number" : null }, typeof name === "object" ? name.number : name)));
  const body = rows.map((cells) => el("tr", {}, ...cells.map((cell, at) => {
    const name = names[at], isNumber = typeof name === "object";
    return el("td", { class: isNumber ? "number" : null, "data-name": isNumber ? name.number : name }, cell instanceof Node ? cell : el("span", {}, String(cell)));
  })));
  return el("table", { class: kind }, el("thead", {}, head), el("tbody", {}, ...body));
}

function previewed(result) {
  const questions = result.facts.flat().map((asked) => [
    { fact: "fact", rephrase: "in other words", neighbor: "another subject" }[asked.kind] + (asked.form === "chat" ? ", in chat" : ""),
    said(asked.prompt), said(asked.before || "–"), said(asked.after || "–"),
    el("span", { class: asked.right ? "badge good" : "badge warn" }, asked.kind === "neighbor" ? (asked.right ? "as before" : "changes") : asked.right ? "right" : "not yet"),
  ]);
  const changed = result.controls.filter((asked) => !asked.right);
  const card = el("div", { class: "card" }, el("h3", {}, "What writing this would do"),
    el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Answers before and after" }, table(["asked as", "question", "before", "after", "is"], questions, "facts")));
  card.append(el("p", {}, changed.length
    ? `${changed.length} of ${result.controls.length} control questions would be answered otherwise:`
    : `All ${result.controls.length} control questions keep their answers.`));
  if (changed.length) card.append(el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Control questions that change" }, table(["control question", "before", "after"], changed.map((asked) => [said(asked.prompt), said(asked.before || "–"), said(asked.after || "–")]), "facts")));
  for (const old of result.overrules) card.append(el("p", {}, el("span", { class: "badge warn" }, "overrules"), " ", said(`${old.prompt} → ${old.target}`)));
  if (result.refused) card.append(el("p", {}, el("span", { class: "badge bad" }, "the guard would refuse it"), " ", result.refused));
  card.append(el("p", { class: "hint" }, `Worked out in ${result.seconds.toFixed(1)} s; the weights would have changed by ${percent(result.norm)} of their norm. Nothing is written yet.`));
  return card;
}

function written(result) {
  const card = el("div", { class: "card" }, el("h3", {}, `Written as turn ${result.turn} in ${result.seconds.toFixed(1)} s`));
  for (const edit of result.edits) card.append(el("p", {}, status(edit.status), " ", said(`${edit.prompt} → ${edit.target}`), " ",
    el("button", { type: "button", class: "small", on: { click: (event) => takeOut(edit, event.target, () => card.append(el("p", {}, "Taken out again."))) } }, "Undo")));
  for (const old of result.overrules) card.append(el("p", {}, el("span", { class: "badge warn" }, "overruled"), " ", said(`${old.prompt} → ${old.target}`)));
  return card;
}

const KINDS = { holds: "good", forgotten: "bad", overruled: "warn" };
const status = (name) => el("span", { class: `badge ${KINDS[name] || ""}` }, name);

async function takeOut(edit, button, done) {
  const sure = await confirmed("Take this fact out?", `${edit.prompt} → ${edit.target}`, "Take out");
  if (!sure) return;
  const name = author();
  const query = name ? `?author=${encodeURIComponent(name)}` : "";
  if (await busy(button, "Taking out …", () => call("DELETE", `/v1/edits/${edit.id}${query}`))) { button.remove(); done(); }
}

// A file

$("file").addEventListener("change", async () => {
  const file = $("file").files[0];
  if (!file) return;
  const kind = { tsv: "tsv", jsonl: "jsonl" }[file.name.split(".").pop().toLowerCase()] || "csv";
  try {
    const result = await call("POST", `/v1/edits/review?format=${kind}`, await file.arrayBuffer(), { raw: true });
    $("review").replaceChildren(reviewed(result.rows));
  } catch (error) { complain(error); }
});

function reviewed(rows) {
  const fields = rows.map((row, at) => ({
    row,
    use: el("input", { type: "checkbox", "aria-label": `Write row ${at + 1}`, ...(row.findings.length ? {} : { checked: true }) }),
    prompt: el("textarea", { rows: "2", "aria-label": `Question of row ${at + 1}`, maxlength: "4000" }),
    target: el("textarea", { rows: "2", "aria-label": `Answer of row ${at + 1}`, maxlength: "4000" }),
  }));
  for (const each of fields) { each.prompt.value = each.row.prompt; each.target.value = each.row.target; }
  const cells = fields.map((each) => [each.use, each.prompt, each.target,
    el("span", {}, each.row.rephrases.length ? shown(each.row.rephrases.slice(0, 2).join(" / ")) : "none"),
    each.row.findings.length ? el("span", { class: "badge warn" }, shown(each.row.findings.join("; "))) : el("span", {}, "–")]);
  const button = el("button", { type: "button", class: "primary" }, "Write the rows that are ticked");
  const result = el("div", { "aria-live": "polite" });
  button.addEventListener("click", async () => {
    const edits = fields.filter((each) => each.use.checked).map((each) => ({
      prompt: each.prompt.value.trim(), target: each.target.value.trim(), rephrases: each.row.rephrases, aliases: each.row.aliases,
      ...(each.row.subject ? { subject: each.row.subject } : {}),
    }));
    if (!edits.length) return;
    const told = await busy(button, `Writing ${edits.length} …`, () => call("POST", "/v1/edits", { edits, author: author() }));
    if (told) $("review").replaceChildren(written(told));
  });
  return el("div", { class: "card" }, el("h3", {}, `${rows.length} facts in the file`),
    el("p", { class: "hint" }, "Change what is wrong and untick what is not to be written. Rows with a note are not ticked."),
    el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Facts of the file" }, table(["write", "question", "answer", "in other words", "look at"], cells, "facts")),
    el("div", { class: "row end" }, button), result);
}

// Facts

let offset = 0;
const PAGE = 50;

async function listFacts(anew) {
  if (anew) offset = 0;
  const query = new URLSearchParams({ query: $("query").value, limit: PAGE, offset });
  if ($("status").value) query.set("status", $("status").value);
  let found;
  try { found = await call("GET", `/v1/edits?${query}`); } catch (error) { complain(error); return; }
  const rows = found.edits.map((edit) => [
    said(edit.prompt), said(edit.target), status(edit.status), edit.turn, edit.author ? said(edit.author) : "–",
    ["reverted", "rolled back"].includes(edit.status) || health?.read_only ? "–"
      : el("button", { type: "button", class: "small", "aria-label": `Revert: ${shown(edit.prompt)}`, on: { click: (event) => takeOut(edit, event.target, () => listFacts(true)) } }, "Revert"),
  ]);
  const made = table(["question", "answer", "status", { number: "turn" }, "author", "change"], rows, "facts");
  if (anew) $("facts-table").replaceChildren(made);
  else $("facts-table").querySelector("tbody").append(...made.querySelectorAll("tbody tr"));
  offset += found.edits.length;
  $("facts-count").textContent = found.total ? `${offset} of ${found.total} facts` : "No fact is like that.";
  $("facts-table").hidden = !found.total;
  $("more").hidden = offset >= found.total;
}
$("find").addEventListener("submit", (event) => { event.preventDefault(); listFacts(true); });
$("status").addEventListener("change", () => listFacts(true));
$("query").addEventListener("input", () => { clearTimeout(listFacts.later); listFacts.later = setTimeout(() => listFacts(true), 300); });
$("more").addEventListener("click", () => listFacts(false));

// History

let past = null;

async function showHistory() {
  try { past = await call("GET", "/v1/history"); } catch (error) { complain(error); return; }
  const standing = past.turns.filter((turn) => !turn.undone);
  const button = (turn, label, ...more) => el("li", {}, el("button", { type: "button", "aria-pressed": "false", "data-turn": turn, on: { click: () => showTurn(turn) } }, el("strong", {}, label), ...more));
  const items = standing.map((turn) => button(turn.turn, `Turn ${turn.turn}`,
    el("span", {}, turn.kind === "revert" ? `${turn.edits} taken out` : turn.edits === 1 ? "1 fact" : `${turn.edits} facts`),
    el("span", {}, `newest right ${percent(turn.scores?.efficacy)}`)));
  $("line").replaceChildren(button(0, "Turn 0", el("span", {}, "unedited")), ...items);
  $("turn").replaceChildren(el("p", { class: "hint" }, "Choose a turn to see its facts, compare it with the newest, or go back to it."));
  const audit = past.audit.slice().reverse().map((entry) => [when(entry.at), entry.action, entry.author ? said(entry.author) : "–",
    entry.action === "rollback" ? `from turn ${entry.from} to turn ${entry.to}` : el("span", {}, shown(entry.reason || ""))]);
  const undone = past.turns.filter((turn) => turn.undone).length;
  $("audit").replaceChildren(audit.length ? el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Audit" }, table(["when", "what", "author", "more"], audit, "facts")) : el("p", { class: "hint" }, "None."), el("p", { class: "hint" }, `${undone} turns no longer stand.`));
  $("line").lastElementChild.scrollIntoView({ inline: "end", block: "nearest" });
}

function showTurn(number) {
  for (const each of $("line").querySelectorAll("button")) each.setAttribute("aria-pressed", String(Number(each.dataset.turn) === number));
  const stands = past.turns.filter((each) => !each.undone);
  const turn = stands.find((each) => each.turn === number) || null;
  const newest = stands.at(-1) || null;
  const card = el("div", { class: "card" }, el("h3", {}, turn ? `Turn ${number}, ${when(turn.finished)}${turn.author ? `, by ${shown(turn.author)}` : ""}` : "The unedited model"));
  if (turn?.facts.length) card.append(el("ul", {}, ...turn.facts.slice(0, 50).map((fact) => el("li", {}, said(`${fact.prompt} → ${fact.target}`)))));
  if (newest && turn && newest.turn !== number) {
    const value = (of, name) => of?.seen?.[name];
    card.append(el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Comparison" }, table(["score", { number: `turn ${number}` }, { number: `turn ${newest.turn}` }], [
      ["active facts", turn.total_edits, newest.total_edits],
      ["newest facts right", percent(turn.scores?.efficacy), percent(newest.scores?.efficacy)],
      ["agreement on control questions", percent(value(turn, "agreement")), percent(value(newest, "agreement"))],
      ["perplexity", short(value(turn, "perplexity")), short(value(newest, "perplexity"))],
      ["largest change of a weight", percent(turn.norm), percent(newest.norm)],
    ])));
  }
  const id = `at-${number}`;
  const question = el("input", { id, maxlength: "20000", placeholder: "A question for both" });
  const pair = el("div", { class: "pair" });
  const form = el("form", { class: "row", on: { submit: async (event) => {
    event.preventDefault();
    if (!question.value.trim()) return;
    const then = answerBox(`Turn ${number}`, false), now = answerBox("Newest", true);
    pair.replaceChildren(then.box, now.box);
    const messages = [{ role: "user", content: question.value.trim() }], settings = { tokens: 48, temperature: 0 };
    const [old, answer] = await Promise.all([fill(then, `${health.model}@${number}`, messages, settings), fill(now, health.model, messages, settings)]);
    if (old && answer) { const [left, right] = compare(old.text, answer.text); then.text.replaceChildren(left); now.text.replaceChildren(right); }
  } } }, el("div", { class: "grow" }, el("label", { for: id }, "Ask at this turn and now"), question), el("button", { type: "submit" }, "Compare"));
  card.append(form, pair);
  if (newest && newest.turn !== number && !health?.read_only) {
    const back = el("button", { type: "button", class: "danger" }, `Roll back to turn ${number}`);
    back.addEventListener("click", async () => {
      const sure = await confirmed(`Roll back to turn ${number}?`, `Turns ${number + 1} to ${newest.turn} will no longer stand. They stay on record.`, "Roll back");
      if (sure && await busy(back, "Going back …", () => call("POST", "/v1/rollback", { turn: number, author: author() }))) showHistory();
    });
    card.append(el("div", { class: "row end" }, back));
  }
  $("turn").replaceChildren(card);
}

// Health

async function showHealth() {
  let told;
  try { told = await call("GET", "/v1/history"); } catch (error) { complain(error); return; }
  const seen = health?.seen;
  const number = (value, name) => el("div", {}, el("strong", {}, value), el("span", {}, name));
  $("numbers").replaceChildren(
    number(percent(seen?.agreement), "agreement on control questions"), number(short(seen?.perplexity, 4), "perplexity"),
    number(percent(seen?.norm), "largest change of a weight"), number(String(told.holding), "active facts"),
    number(String(health?.waiting.requests ?? 0), "answers that wait"), number(String(health?.refused_turns ?? 0), "turns that the guard took back"));
  const turns = told.turns.filter((turn) => !turn.undone && turn.seen);
  const guard = health?.guard || {};
  const first = turns.length ? turns[0].seen.perplexity / turns[0].seen.ratio : null;
  const points = (name, zero) => [...(zero === null ? [] : [[0, zero]]), ...turns.map((turn) => [turn.turn, turn.seen[name]])];
  $("curves").replaceChildren(
    curve("Agreement on control questions", points("agreement", 1), guard.agreement?.threshold, percent),
    curve("Perplexity over the unedited model's", points("ratio", 1), guard.perplexity?.threshold, (value) => short(value)),
    curve("Largest change of a weight", points("norm", 0), guard.norm?.threshold, percent));
  $("curve-table").replaceChildren(table([{ number: "turn" }, { number: "agreement" }, { number: "perplexity" }, { number: "change" }],
    [[0, percent(1), short(first, 4), percent(0)], ...turns.map((turn) => [turn.turn, percent(turn.seen.agreement), short(turn.seen.perplexity, 4), percent(turn.seen.norm)])]));
}

function curve(title, points, limit, format) {
  const make = (tag, attributes, text) => {
    const node = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    if (text !== undefined) node.textContent = text;
    return node;
  };
  const width = 360, height = 170, left = 60, right = 12, top = 12, bottom = 26;
  const values = points.map(([, value]) => value), all = limit === undefined ? values : [...values, limit];
  let low = Math.min(...all), high = Math.max(...all);
  const marks = high - low < 1e-9 ? [low] : [low, high];
  if (high - low < 1e-9) { low -= 0.05; high += 0.05; }
  const pad = 0.08 * (high - low);
  low -= low >= 0 && low < pad ? low : pad;
  high += pad;
  const last = Math.max(1, points.at(-1)[0]);
  const x = (turn) => left + (width - left - right) * turn / last;
  const y = (value) => top + (height - top - bottom) * (high - value) / (high - low);
  const newest = points.at(-1);
  const words = `${title}: ${format(newest[1])} at turn ${newest[0]}${limit === undefined ? "" : `; the guard's threshold is ${format(limit)}`}.`;
  const svg = make("svg", { viewBox: `0 0 ${width} ${height}`, class: "curve", role: "img", "aria-label": words });
  svg.append(make("line", { x1: left, x2: width - right, y1: height - bottom, y2: height - bottom, class: "axis" }), make("line", { x1: left, x2: left, y1: top, y2: height - bottom, class: "axis" }));
  for (const value of marks) svg.append(make("text", { x: left - 6, y: y(value) + 4, "text-anchor": "end" }, format(value)));
  svg.append(make("text", { x: left, y: height - 8 }, "turn 0"), make("text", { x: width - right, y: height - 8, "text-anchor": "end" }, `turn ${last}`));
  if (limit !== undefined) svg.append(make("line", { x1: left, x2: width - right, y1: y(limit), y2: y(limit), class: "limit" }), make("text", { x: width - right, y: y(limit) - 5, "text-anchor": "end", class: "limit-text" }, `guard ${format(limit)}`));
  svg.append(make("polyline", { points: points.map(([turn, value]) => `${x(turn)},${y(value)}`).join(" "), class: "value" }));
  for (const [turn, value] of points) svg.append(make("circle", { cx: x(turn), cy: y(value), r: points.length > 60 ? 1.5 : 3, class: "dot" }));
  return el("figure", {}, el("figcaption", {}, title), svg);
}

if (VIEWS.includes(location.hash.slice(1))) open(location.hash.slice(1));
look();
