// The page's behaviour: one photograph, one overlay over it at full opacity, whose CSS opacity the slider sets.
// Painting is linear in opacity, so the heat shown is what the service paints with that `alpha`, to within 2 of
// 255. Lines and the veil over what the model did not see fade with it here, and stay in the download.

const $ = (id) => document.getElementById(id);
const form = $("form");
const state = { photo: null, request: null, photoUrl: "", overlayUrl: "" };

// A loading model and a full queue pass by themselves; this many tries, then the reader decides.
const PATIENCE = 20;

document.documentElement.classList.add("scripted");

// ---- a photograph comes in

async function take(photo) {
  if (!photo) return;
  state.photo = photo;
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
  if ($("target").dataset.index) body.set("target", $("target").dataset.index);
  for (const [name, value] of Object.entries(changes)) body.set(name, value);
  return { method: "POST", body, headers: { Accept: accept }, signal };
}

async function ask(accept, changes, signal = state.request.signal) {
  for (let tries = 1; ; tries += 1) {
    const response = await fetch(form.dataset.explain, request(accept, changes, signal));
    if (response.ok) return response;
    const problem = await response.json().catch(() => ({ detail: `The service answered ${response.status}.` }));
    const seconds = Number(response.headers.get("Retry-After"));
    if (!seconds || tries === PATIENCE) throw Object.assign(new Error(problem.detail), problem);
    $("busy").textContent = problem.code === "busy" ? "Waiting for other requests …" : "Waiting for the model …";
    await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  }
}

async function explain() {
  if (!state.photo) return;
  state.request?.abort();
  const mine = (state.request = new AbortController());
  setBusy(true);
  try {
    $("problem").hidden = true;
    await showPhoto();
    if (mine.signal.aborted) return;
    const start = performance.now();
    const answer = await (await ask("application/json", { outputs: "overlay", format: "jpeg", alpha: 1 })).json();
    if (mine.signal.aborted) return;
    await showOverlay(answer.outputs.overlay);
    showAnswer(answer, performance.now() - start);
  } catch (error) {
    if (mine.signal.aborted) return;
    showFailure(error);
  }
  if (mine === state.request) setBusy(false);
}

// ---- showing what it said

// Browsers show no TIFF: then the service's own reading of it, an overlay without opacity, is the photograph.
async function showPhoto() {
  if (state.shown === state.photo) return;
  const photo = state.photo;
  setSource("photo", photo);
  await $("photo").decode().catch(async () => {
    setSource("photo", await (await ask("image/jpeg", { alpha: 0, contour: "", boxes: "", size: "fit" })).blob());
    await $("photo").decode();
  });
  state.shown = photo;
  $("frame").style.setProperty("--ratio", $("photo").naturalWidth / $("photo").naturalHeight);
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
  const title = [...$("method").options].find((option) => option.value === method)?.text ?? method;
  const refocus = $("top").contains(document.activeElement);
  $("top").replaceChildren(...listed(answer).map((one) => answerItem(one, one.class_index === answer.class_index)));
  $("warnings").replaceChildren(...answer.warnings.map(warningItem));
  $("warnings").hidden = !answer.warnings.length;
  $("for").textContent = answer.target.name;
  $("overlay").alt = `Where the evidence for ${answer.target.name} is`;
  $("facts").textContent =
    `${title} at layer “${layer}” of ${model.name} · ${image.width} × ${image.height} · ${Math.round(milliseconds)} ms`;
  $("answers").hidden = false;
  if (refocus) $("top").querySelector("[aria-pressed=true]").focus();
}

// The five most likely classes, and the explained one where it is none of them.
function listed(answer) {
  const inside = answer.top.some((one) => one.class_index === answer.class_index);
  return inside ? answer.top : [...answer.top, answer];
}

function answerItem(one, explained) {
  const item = $("answer").content.cloneNode(true);
  item.querySelector("span").textContent = one.class_name;
  item.querySelector("output").textContent = one.score < 0.0005 ? "< 0.1 %" : `${(100 * one.score).toFixed(1)} %`;
  item.querySelector("meter").value = one.score;
  const button = item.querySelector("button");
  button.setAttribute("aria-pressed", explained);
  button.addEventListener("click", () => {
    setTarget(one.class_name, one.class_index);
    explain();
  });
  return item;
}

// Two classes may share a name, so a chosen one is asked for by its index.
function setTarget(name, index) {
  $("target").value = name;
  $("target").dataset.index = index;
}

function warningItem(text) {
  const item = document.createElement("li");
  item.textContent = text;
  return item;
}

function showFailure(error) {
  const unreachable = error instanceof TypeError;
  $("problem-text").textContent = unreachable ? "The service does not answer. Is it still running?" : error.message;
  $("again").hidden = !unreachable && !(error.status >= 429);
  $("problem").hidden = false;
  if (state.shown !== state.photo) {
    $("figure").hidden = true;
    $("drop").hidden = false;
  }
}

function setBusy(busy) {
  document.body.classList.toggle("busy", busy);
  $("busy").textContent = "Explaining …";
  $("busy").hidden = !busy;
}

// ---- looking and keeping

function setOpacity() {
  $("overlay").style.opacity = $("opacity").value;
}

function setHints() {
  $("summary").textContent = $("method").selectedOptions[0].dataset.summary;
  $("scale").style.setProperty("--stops", $("colormap").selectedOptions[0].dataset.stops);
}

async function download() {
  try {
    const response = await ask("image/png", { alpha: $("opacity").value });
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
$("download").addEventListener("click", download);
$("again").addEventListener("click", explain);
form.addEventListener("submit", (event) => {
  event.preventDefault();
  explain();
});
form.addEventListener("change", (event) => {
  if (["file", "opacity"].includes(event.target.id)) return;
  setHints();
  explain();
});
setOpacity();
setHints();
