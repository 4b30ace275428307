// Asking about a place by a click on the photograph, and about a region by a drag over it.

const $ = (id) => document.getElementById(id);
const pressed = { down: false, at: null, from: null };
const CLICK = 4; // CSS pixels: what moves less is a click

export const short = (number) => String(Number(number.toPrecision(3))).replace("-", "−");

export function clearPlace() {
  $("mark").hidden = true;
  $("place").textContent = $("place").dataset.hint;
}

// size: () -> the photograph's, {width, height}; null: nothing can be asked now. ask: a question -> promise of the
// answer; null: nobody waits for it any more.
export function watchPlaces({ size, ask }) {
  $("frame").addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || !size()) return;
    Object.assign(pressed, { at: event, from: fractions(event), down: true });
    $("frame").setPointerCapture(event.pointerId);
  });
  $("frame").addEventListener("pointermove", (event) => {
    if (pressed.down && isDrag(event)) setMark(pressed.from, fractions(event));
  });
  $("frame").addEventListener("pointerup", (event) => {
    if (!pressed.down) return;
    pressed.down = false;
    const to = isDrag(event) ? fractions(event) : pressed.from;
    setMark(pressed.from, to);
    if (size()) askPlace(pressed.from, to, size(), ask);
  });
  $("frame").addEventListener("pointercancel", () => {
    pressed.down = false;
    clearPlace();
  });
}

async function askPlace(from, to, { width, height }, ask) {
  const pixel = ({ x, y }) => [Math.min(Math.floor(x * width), width - 1), Math.min(Math.floor(y * height), height - 1)];
  const [x, y] = pixel(from);
  const [right, bottom] = pixel(to);
  const box = [Math.min(x, right), Math.min(y, bottom), Math.max(x, right) + 1, Math.max(y, bottom) + 1];
  try {
    const answer = await ask(from === to ? { at: `${x},${y}` } : { region: box.join(",") });
    if (answer) $("place").textContent = inWords(answer);
  } catch (error) {
    if (error.name !== "AbortError") $("place").textContent = error.message;
  }
}

function inWords({ places: [place] = [], regions: [region] = [], target }) {
  if (region) {
    return `This region gives ${short(region.logits)} logits for ${target.name}; all places together ${short(region.of)}.`;
  }
  const votes = place.votes.map((vote) => `${vote.class_name} ${short(vote.logits)}`);
  return `At ${place.x}, ${place.y} the photograph speaks for ${votes.join(" · ")} (logits)`;
}

function fractions(event) {
  const { left, top, width, height } = $("frame").getBoundingClientRect();
  const inside = (value) => Math.min(Math.max(value, 0), 1);
  return { x: inside((event.clientX - left) / width), y: inside((event.clientY - top) / height) };
}

function setMark(from, to) {
  const percent = (number) => `${100 * number}%`;
  $("mark").hidden = false;
  $("mark").classList.toggle("point", from === to);
  Object.assign($("mark").style, {
    left: percent(Math.min(from.x, to.x)), top: percent(Math.min(from.y, to.y)),
    width: percent(Math.abs(to.x - from.x)), height: percent(Math.abs(to.y - from.y)),
  });
}

function isDrag(event) {
  return Math.hypot(event.clientX - pressed.at.clientX, event.clientY - pressed.at.clientY) > CLICK;
}
