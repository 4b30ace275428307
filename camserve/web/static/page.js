// The page's behaviour: one photograph, one overlay over it at full opacity, whose CSS opacity the slider sets.
// Painting is linear in opacity, so the heat shown is what the service paints with that `alpha`, to within 2 of
// 255. Lines and the veil over what the model did not see fade with it here, and stay in the download.

import { searchClasses } from "./classes.js";
import { inWords as lasting, secondsOf, showForecast, titleOf } from "./methods.js";
import { clearPlace, short, watchPlaces } from "./places.js";

const $ = (id) => document.getElementById(id);
const form = $("form");
// answered: the choices that the picture shown is the answer to; null: there is none.
const state = { photo: null, request: null, answered: null, photoUrl: "", overlayUrl: "" };

// A loading model and a full queue pass by themselves; this many tries, then the reader decides.
const PATIENCE = 20;
// Milliseconds that the last picture stays, dimmed, while another is made: less than that would only flicker.
const STAYS = 400;
// Pixels of a side up to which a photograph is drawn pixel by pixel; routes/page.py has the same.
const SMALL = 128;
// A setting's name is for who runs the service; routes/page.py has the same.
const SETTING = / \((?:limits|serve|explain|render|compute|models)\.[a-z_]+\)/g;

document.documentElement.classList.add("scripted");

// ---- a photograph comes in

async function take(photo) {
  if (!photo) return;
  state.photo = photo;
  state.answered = null;
  setTarget("", "");
  $("answers").hidden = true;
  $("overlay").hidden = true;
  await explain();
}

$("file").addEventListener("change", (event) => take(event.target.files[0]));
$("another").addEventListener("click", () => $("file").click());
document.addEventListener("paste", (event) => take(event.clipboardData.files[0]));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dragging");
  take(event.dataTransfer.files[0]);
});
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.toggle("dragging", event.dataTransfer.types.includes("Files"));
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) document.body.classList.remove("dragging");
});

// ---- asking the service

function request(accept, changes, signal) {
  const body = new FormData(form);
  body.set("image", state.photo, state.photo.name || "pasted");
  body.set("method", $("method").value); // a form leaves out what cannot be chosen any more
  if ($("target").dataset.index) body.set("target", `#${$("target").dataset.index}`);
  for (const [name, value] of Object.entries(changes)) body.set(name, value);
  return { method: "POST", body, headers: { Accept: accept }, signal };
}

async function ask(accept, changes, signal = state.request.signal, address = form.dataset.explain) {
  for (let tries = 1; ; tries += 1) {
    const response = await fetch(address, request(accept, changes, signal));
    if (response.ok) return response;
    const problem = await response.json().catch(() => ({ detail: `The service answered ${response.status}.` }));
    const seconds = Number(response.headers.get("Retry-After"));
    if (!seconds || tries === PATIENCE) throw Object.assign(new Error(problem.detail), problem);
    $("doing").textContent = problem.code === "busy" ? "Waiting for other requests …" : "Waiting for the model …";
    await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  }
}

async function explain() {
  if (!state.photo) return;
  state.request?.abort();
  const mine = (state.request = new AbortController());
  const asked = (state.asked = choices());
  setBusy(true);
  try {
    $("problem").hidden = true;
    clearPlace();
    await showPhoto();
    if (mine.signal.aborted) return;
    const start = performance.now();
    const answer = await (await ask("application/json", { outputs: "overlay", format: "jpeg", alpha: 1 })).json();
    if (mine.signal.aborted) return;
    await showOverlay(answer.outputs.overlay);
    if (mine.signal.aborted) return;
    showAnswer(answer, performance.now() - start);
    state.answered = { ...asked, name: answer.target.name };
    setCleared(false);
    forecast(mine.signal);
  } catch (error) {
    if (mine.signal.aborted) return;
    showFailure(error);
  }
  if (mine === state.request) setBusy(false);
}

// What every method would take on this photograph; asked once the first picture is there, and nobody waits for it.
async function forecast(signal) {
  const key = [state.photo.name, state.photo.size, state.photo.lastModified, modelName(), $("size").value].join("/");
  if (state.forecast === key) return;
  try {
    const changes = { method: "auto", target: "", contour: "", boxes: "", colormap: "", signed: "", trust: "" };
    const answer = await ask("application/json", changes, signal, form.dataset.forecast);
    const told = await answer.json();
    if (signal.aborted) return;
    state.forecast = key;
    showForecast($("method"), $("why"), told);
  } catch {
    // the menu stays as it is, and errors say the rest
  }
}

const modelName = () => $("model")?.value ?? form.dataset.model;

// Sentences are for models that compare images with them; the field is there for those alone.
const sentences = () => ($("labels")?.disabled === false ? $("labels").value.split(/[\n;]/) : [])
  .map((one) => one.trim()).filter(Boolean);

function offerSentences() {
  if (!$("labels")) return;
  const takes = $("labels").dataset.models.split(" ").includes(modelName());
  for (const one of [$("labels"), $("sentences"), form.querySelector("label[for=labels]")]) one.hidden = !takes;
  $("labels").disabled = !takes;
}

offerSentences();

const classesOf = new Map();

// The names of a model's classes, asked for once.
function classNames() {
  if (sentences().length) return Promise.resolve(sentences());
  const model = modelName();
  if (!classesOf.has(model)) {
    const address = `${form.dataset.models}/${encodeURIComponent(model)}/classes`;
    const names = fetch(address).then(async (answer) => (answer.ok ? (await answer.json()).classes : Promise.reject()));
    names.catch(() => classesOf.delete(model));
    classesOf.set(model, names);
  }
  return classesOf.get(model);
}

// ---- what was chosen

function choices() {
  const kept = {};
  for (const { id, name, type, value, checked } of form.elements) {
    if (name && type !== "file") kept[id || name] = type === "checkbox" ? checked : value;
  }
  return { kept, index: $("target").dataset.index ?? "" };
}

function restore({ kept, index }) {
  for (const element of form.elements) {
    const was = kept[element.id || element.name];
    if (was === undefined) continue;
    if (element.type === "checkbox") element.checked = was;
    else element.value = was;
  }
  $("target").dataset.index = index;
  setHints();
}

// Ends what is under way. The picture that was there is shown again, with what it was asked for.
function cancel() {
  if ($("busy").hidden) return;
  state.request.abort();
  setBusy(false);
  if (state.answered) {
    restore(state.answered);
    setCleared(false);
  } else {
    showFailure({ message: "Nothing was computed to its end.", status: 499 }, "Stopped.");
  }
}

// ---- showing what it said

// Browsers show no TIFF: then the service's own reading of it, an overlay without opacity, is the photograph.
async function showPhoto() {
  if (state.shown === state.photo) return;
  const photo = state.photo;
  setSource("photo", photo);
  await $("photo").decode().catch(async () => {
    setSource("photo", await (await ask("image/jpeg", { alpha: 0, contour: "", boxes: "", size: "fit", trust: "" })).blob());
    await $("photo").decode();
  });
  state.shown = photo;
  const { naturalWidth: width, naturalHeight: height } = $("photo");
  $("frame").style.setProperty("--ratio", width / height);
  $("frame").style.setProperty("--pixels", width);
  $("frame").classList.toggle("small", Math.max(width, height) <= SMALL);
  $("photo").hidden = $("figure").hidden = false;
  $("drop").hidden = true;
}

async function showOverlay(overlay) {
  const bytes = Uint8Array.from(atob(overlay.b64), (letter) => letter.charCodeAt(0));
  setSource("overlay", new Blob([bytes], { type: overlay.content_type }));
  await $("overlay").decode();
  $("overlay").hidden = false;
}

function setSource(id, blob) {
  URL.revokeObjectURL(state[`${id}Url`]);
  $(id).src = state[`${id}Url`] = URL.createObjectURL(blob);
}

function showAnswer(answer, milliseconds) {
  const { model, method, layer, image } = answer.provenance;
  const title = titleOf($("method"), method);
  const refocus = $("top").contains(document.activeElement);
  $("top").replaceChildren(...listed(answer).map((one) => answerItem(one, one.class_index === answer.class_index)));
  $("warnings").replaceChildren(...answer.warnings.map(warningItem));
  $("warnings").hidden = !answer.warnings.length;
  state.size = image;
  $("for").textContent = answer.target.name;
  $("by").textContent = title;
  setScale(answer);
  $("overlay").alt = `Where the evidence for ${answer.target.name} is, by ${title}`;
  $("facts").textContent =
    `${title} at layer “${layer}” of ${model.name} · ${image.width} × ${image.height} · ${Math.round(milliseconds)} ms`;
  $("trust").textContent = answer.trust ? answer.trust.sentence : "";
  $("trust").hidden = !answer.trust;
  $("answers").hidden = false;
  if (refocus) $("top").querySelector("[aria-pressed=true]").focus();
}

// What the ends of the colours stand for, as the overlay has them: the map's own maximum, of either sign where signed.
function setScale(answer) {
  const signed = $("signed").checked;
  const end = answer.map.flat().reduce((most, value) => Math.max(most, signed ? Math.abs(value) : value), 0);
  const inLogits = answer.unit === "logits";
  $("low").textContent = signed ? (inLogits ? `against ${short(-end)}` : "against") : inLogits ? "0" : "little";
  $("high").textContent = inLogits ? `${signed ? "for " : ""}${short(end)} logits` : signed ? "for" : "most";
}

// The five most likely classes, and the explained one where it is none of them.
function listed(answer) {
  const inside = answer.top.some((one) => one.class_index === answer.class_index);
  return inside ? answer.top : [...answer.top, answer];
}

function answerItem(one, explained) {
  const item = $("answer").content.cloneNode(true);
  item.querySelector("span").textContent = one.class_name;
  item.querySelector("output").textContent = said(one);
  item.querySelector("meter").value = one.score ?? 0;
  item.querySelector("meter").hidden = one.score === null;
  const button = item.querySelector("button");
  button.setAttribute("aria-pressed", explained);
  button.addEventListener("click", () => {
    setTarget(one.class_name, one.class_index);
    explain();
  });
  return item;
}

// A score in percent; where there is no score, the number that the network gives.
function said(one) {
  if (one.score === null) return one.logit === null ? "?" : short(one.logit);
  return one.score < 0.0005 ? "< 0.1 %" : `${(100 * one.score).toFixed(1)} %`;
}

// Two classes may share a name, so a chosen one is asked for by its index; the digits alone could be a name, too.
function setTarget(name, index) {
  $("target").value = name;
  $("target").dataset.index = index;
}

function warningItem(text) {
  const item = document.createElement("li");
  item.textContent = text;
  return item;
}

function showFailure(error, title = "That did not work.") {
  const unreachable = error instanceof TypeError;
  setCleared(true, true);
  state.answered = null;
  $("top").querySelector("[aria-pressed=true]")?.setAttribute("aria-pressed", "false");
  $("warnings").hidden = true;
  $("problem-title").textContent = title;
  $("problem-text").textContent = unreachable ? "The service does not answer. Is it still running?" : plain(error);
  $("again").hidden = !unreachable && !(error.status >= 429);
  $("problem").hidden = false;
  $("problem").scrollIntoView({ block: "nearest" });
  if (state.shown !== state.photo) {
    $("figure").hidden = true;
    $("drop").hidden = false;
  }
}

// An error in words for who looks at a page: without settings, and without all the names there are.
function plain({ code, message }) {
  if (code === "deadline_passed") {
    const title = titleOf($("method"), $("method").value);
    return `There was no answer within ${form.dataset.deadline} s, which is the longest that one may take here. Choose a quicker method than ${title}, or a smaller size.`;
  }
  const said = message.replace(SETTING, "").replace(/^[a-z]/, (letter) => letter.toUpperCase());
  return code === "unknown_name" ? said.replace(/ Known: .*$/s, "") : said;
}

function setBusy(busy) {
  document.body.classList.toggle("busy", busy);
  $("busy").hidden = !busy;
  clearInterval(state.ticking);
  clearTimeout(state.clearing);
  if (!busy) return;
  const [name, start] = [$("method").value, performance.now()];
  const title = titleOf($("method"), name);
  const takes = secondsOf($("method"), name);
  $("doing").textContent = name === "auto" ? "Explaining …" : `Explaining by ${title} …`;
  $("elapsed").textContent = "";
  state.ticking = setInterval(() => {
    const seconds = Math.round((performance.now() - start) / 1000);
    $("elapsed").textContent = takes >= 2 ? `${seconds} s of about ${lasting(takes)}` : `${seconds} s`;
  }, 1000);
  state.clearing = setTimeout(() => setCleared(true), STAYS);
}

// Cleared: the photograph alone, without what was found about it by another method or for another class. failed: and
// nothing is on its way.
function setCleared(cleared, failed = false) {
  state.cleared = cleared;
  document.body.classList.toggle("cleared", cleared);
  document.body.classList.toggle("failed", failed);
  $("download").disabled = cleared;
}

// ---- looking and keeping

function asksTheSame() {
  const { kept, index } = choices();
  return state.asked?.index === index && state.asked?.kept.target === kept.target;
}

function setOpacity() {
  $("overlay").style.opacity = $("opacity").value;
}

function setHints() {
  $("summary").textContent = $("method").selectedOptions[0].dataset.summary;
  const { stops, signed } = $("colormap").selectedOptions[0].dataset;
  $("scale").style.setProperty("--stops", ($("signed").checked && signed) || stops);
  $("scale").classList.toggle("signed", $("signed").checked);
}

async function download() {
  try {
    const response = await ask("image/png", { alpha: $("opacity").value, trust: "" });
    const link = document.createElement("a");
    link.href = URL.createObjectURL(await response.blob());
    link.download = `${(state.photo.name || "photo").replace(/\.\w+$/, "")}-why.png`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  } catch (error) {
    if (error.name !== "AbortError") showFailure(error);
  }
}

$("opacity").addEventListener("input", setOpacity);
$("target").addEventListener("input", () => setTarget($("target").value, ""));
$("cancel").addEventListener("click", cancel);
document.addEventListener("keydown", (event) => event.key === "Escape" && !event.defaultPrevented && cancel());
watchPlaces({
  size: () => (state.cleared || $("overlay").hidden ? null : state.size),
  async ask(question) {
    const mine = state.request;
    // places and regions are the head's, whatever the method, so the cheapest one will do
    const answer = await (await ask("application/json", { ...question, method: "auto", trust: "" })).json();
    return mine === state.request ? answer : null;
  },
});
searchClasses({
  input: $("target"),
  list: $("classes"),
  found: $("found"),
  names: classNames,
  choose(name, index) {
    setTarget(name, index);
    explain();
  },
  submit: explain,
});
$("download").addEventListener("click", download);
$("again").addEventListener("click", explain);
form.addEventListener("submit", (event) => {
  event.preventDefault();
  explain();
});
form.addEventListener("change", (event) => {
  if (["file", "opacity"].includes(event.target.id)) return;
  if (event.target.id === "target" && asksTheSame()) return; // taken from the list, or by Enter, already
  if (event.target.id === "signed") $("colormap").value = "";
  if (event.target.id === "model") showForecast($("method"), $("why"), null);
  if (event.target.id === "model") offerSentences();
  if (event.target.id === "labels") setTarget("", "");
  setHints();
  explain();
});
setOpacity();
setHints();
