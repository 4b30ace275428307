// The picture: a photograph, and the heat over it as the controls say, drawn here and at once.

import { Ground } from "./heat.js";
import { SAMPLES, drawBoxes, drawOutline, drawUnseen } from "./lines.js";
import { smoothed } from "./smooth.js";
import { short } from "../words.js";

const $ = (id) => document.getElementById(id);
// Pixels that are drawn: of larger photographs a smaller copy, so that every change is drawn within a frame.
const MOST = 2 ** 20;
// Pixels of a side up to which a photograph is drawn pixel by pixel; routes/page.py has the same.
const SMALL = 128;

// Of that, for a picture that is looked at closely.
const CLOSE = 4;

// heat: of `setHeat`. grounds: the photograph, as it is painted on, by greyness and size. close: whether it is looked at
// closely. after: called when it was drawn.
const shown = { photo: null, heat: null, grounds: {}, asked: false, close: false, after: [] };

// ---- the photograph

// image: an img, decoded. Large photographs are drawn smaller.
export function setPhotograph(image) {
  const { naturalWidth: width, naturalHeight: height } = image;
  Object.assign(shown, { photo: image, heat: null, grounds: {} });
  $("frame").style.setProperty("--ratio", width / height);
  $("frame").style.setProperty("--pixels", width);
  $("frame").classList.toggle("small", Math.max(width, height) <= SMALL);
  $("heat").hidden = true;
  ground($("grey").checked, drawnSize(width, height)); // while the service is at work
}

export function drawnSize(width, height, most = MOST) {
  const share = Math.min(1, Math.sqrt(most / (width * height)));
  return [width, height].map((side) => Math.max(1, Math.round(side * share)));
}

function ground(grey, size) {
  const key = `${grey} ${size}`;
  if (!shown.grounds[key]) {
    const canvas = new OffscreenCanvas(...size);
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.imageSmoothingQuality = "high";
    context.fillStyle = "#fff"; // what is clear is white to the service, too
    context.fillRect(0, 0, ...size);
    context.drawImage(shown.photo, 0, 0, ...size);
    shown.grounds[key] = new Ground(context.getImageData(0, 0, ...size), grey);
  }
  return shown.grounds[key];
}

// Whether it is looked at closely, and so drawn with more pixels where the photograph has more.
export function setClose(close) {
  if (shown.close === close) return;
  shown.close = close;
  redraw();
}

// ---- the heat

// told(): called whenever the controls may have changed how heat looks.
export const onRedraw = (told) => shown.after.push(told);

// heat: {map, placement, unit, signed}: a raw map, where its cells lie in the photograph, what its numbers are, and
// whether it is a difference, which has two sides whatever the controls say. null: there is none.
export function setHeat(heat) {
  shown.heat = heat;
  $("heat").hidden = !heat;
  for (const input of [$("signed"), $("clip")]) input.disabled = heat?.unit === "relative";
  redraw();
}

// Draws before the next frame, once, however many controls have moved until then.
export function redraw() {
  setColours();
  for (const told of shown.after) told();
  if (!shown.heat || shown.asked) return;
  shown.asked = true;
  requestAnimationFrame(() => {
    shown.asked = false;
    if (!shown.heat) return;
    performance.mark("draw");
    const most = shown.close ? CLOSE * MOST : MOST;
    draw($("heat"), drawnSize(shown.photo.naturalWidth, shown.photo.naturalHeight, most));
    performance.measure("draw", "draw");
    setScale();
  });
}

// Draws the picture as it is shown on a canvas of another size. heat: another one of the photograph's. end: the value of
// its last colour, default as the controls say.
export function draw(canvas, size, heat = shown.heat, end = lookOf(heat).end) {
  const look = lookOf(heat);
  const context = canvas.getContext("2d");
  if (canvas.width !== size[0] || canvas.height !== size[1]) [canvas.width, canvas.height] = size;
  const placed = heat.placement.within(size);
  const painted = drawnMap(sharesOf(heat.map, end, look.signed), placed, look);
  context.putImageData(ground(look.grey, size).paint(painted.map, painted.placed, look), 0, 0);
  const own = sharesOf(heat.map, highest(heat.map, false), false);
  if (look.boxes) drawBoxes(context, own, placed, look.threshold);
  if (!placed.sawAll) drawUnseen(context, placed);
  if (!look.contour) return;
  const outlined = drawnMap(own, placed, look);
  drawOutline(context, outlined.map, outlined.placed, look.threshold, Math.ceil(SAMPLES / outlined.steps));
}

// The map as it is drawn, and where its cells lie. steps: how many make one of the map's own.
function drawnMap(map, placed, { smooth }) {
  if (!smooth) return { map, placed, steps: 1 };
  const finer = smoothed(map, placed.grid);
  return { ...finer, placed: placed.finer(finer.steps) };
}

// What the controls say, for one heat. end: the value of the last colour.
export function lookOf({ map, unit, signed: twoSides = false }) {
  const signed = unit !== "relative" && (twoSides || $("signed").checked);
  const clip = unit === "relative" ? 100 : Number($("clip").value);
  return {
    signed, clip,
    end: clip < 100 ? percentile(map, clip, signed) : highest(map, signed),
    palette: paletteOf(signed),
    alpha: Number($("opacity").value),
    bare: $("only-map").checked,
    grey: $("grey").checked,
    contour: $("contour").checked,
    boxes: $("boxes").checked,
    smooth: $("smooth").checked,
    threshold: Number($("threshold").value),
  };
}

// Numbers that are not finite are shown as none.
const strength = (value, signed) => (Number.isFinite(value) ? (signed ? Math.abs(value) : Math.max(value, 0)) : 0);

const highest = (map, signed) => map.reduce((most, value) => Math.max(most, strength(value, signed)), 0);

// Of the places that speak for the class, or signed for or against: the strength that so many percent of them are below.
function percentile(map, percent, signed) {
  const found = Array.from(map, (value) => strength(value, signed)).filter(Boolean).sort((a, b) => a - b);
  const place = ((found.length - 1) * percent) / 100;
  const before = Math.floor(place);
  return found.length ? found[before] + ((found[before + 1] ?? found[before]) - found[before]) * (place - before) : 0;
}

const sharesOf = (map, end, signed) => {
  return Float32Array.from(map, (value) => (end > 0 ? Math.sign(value) * strength(value, signed) / end || 0 : 0));
};

// ---- colours and their scale

const palettes = new Map();

function paletteOf(signed) {
  const option = $("colormap").selectedOptions[0];
  const bytes = (signed && option.dataset.signed) || option.dataset.colours;
  if (!palettes.has(bytes)) palettes.set(bytes, Uint8Array.from(atob(bytes), (letter) => letter.charCodeAt(0)));
  return palettes.get(bytes);
}

// The colour bar, as a picture of one row. signed: as for `lookOf`.
export function colourBar(canvas, palette) {
  [canvas.width, canvas.height] = [256, 1];
  const pixels = new ImageData(256, 1);
  for (let at = 0; at < 256; at += 1) pixels.data.set([...palette.subarray(3 * at, 3 * at + 3), 255], 4 * at);
  canvas.getContext("2d").putImageData(pixels, 0, 0);
}

function setColours() {
  const signed = shown.heat ? lookOf(shown.heat).signed : $("signed").checked;
  colourBar($("scale"), paletteOf(signed));
  $("scale").classList.toggle("signed", signed);
  $("threshold").disabled = !($("contour").checked || $("boxes").checked);
  $("threshold-said").textContent = `${Math.round(100 * $("threshold").value)} % of the peak`;
  $("clip-said").textContent = $("clip").value === "100" ? "the peak" : `above ${$("clip").value} % of the places`;
}

// What the ends of the colours stand for.
function setScale() {
  [$("low").textContent, $("high").textContent] = endsOf(shown.heat);
}

export function endsOf(heat, last = lookOf(heat).end) {
  const { signed, clip } = lookOf(heat);
  const inLogits = heat.unit === "logits";
  const beyond = clip < 100 ? "≥ " : "";
  const low = signed ? (inLogits ? `${heat.signed ? "for the other" : "against"} ${short(-last)}` : "against") : inLogits ? "0" : "little";
  return [low, inLogits ? `${signed ? "for " : ""}${beyond}${short(last)} logits` : signed ? "for" : "most"];
}
