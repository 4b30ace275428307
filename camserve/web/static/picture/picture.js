// The picture: a photograph with heat over it, drawn in the browser with the page's options.

import { Ground } from "./heat.js";
import { SAMPLES, drawBoxes, drawOutline, drawUnseen } from "./lines.js";
import { smoothed } from "./smooth.js";
import { short } from "../words.js";

const $ = (id) => document.getElementById(id);
// Most pixels to draw. Larger photographs are drawn as a smaller copy, so that every change is drawn within one frame.
const MOST = 2 ** 20;
// Photographs with sides up to this many pixels are drawn pixel by pixel. routes/page.py has the same number.
const SMALL = 128;

// Factor for MOST while the user zooms in.
const CLOSE = 4;

// heat: from `setHeat`. grounds: the photographs to paint on, by grey and size. close: whether the user zooms in. after:
// called after drawing.
const shown = { photo: null, heat: null, grounds: {}, asked: false, close: false, after: [] };

// ---- the photograph

// image: a decoded img. Large photographs are drawn smaller.
export function setPhotograph(image) {
  const { naturalWidth: width, naturalHeight: height } = image;
  Object.assign(shown, { photo: image, heat: null, grounds: {} });
  $("frame").style.setProperty("--ratio", width / height);
  $("frame").style.setProperty("--pixels", width);
  $("frame").classList.toggle("small", Math.max(width, height) <= SMALL);
  $("heat").hidden = true;
  ground($("grey").checked, drawnSize(width, height)); // prepared while the service works
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
    context.fillStyle = "#fff"; // the service also makes transparent pixels white
    context.fillRect(0, 0, ...size);
    context.drawImage(shown.photo, 0, 0, ...size);
    shown.grounds[key] = new Ground(context.getImageData(0, 0, ...size), grey);
  }
  return shown.grounds[key];
}

// close: whether the user zooms in. Then the picture is drawn with more pixels, if the photograph has more.
export function setClose(close) {
  if (shown.close === close) return;
  shown.close = close;
  redraw();
}

// ---- the heat

// told(): called when the options of drawing may have changed.
export const onRedraw = (told) => shown.after.push(told);

// heat: {map, placement, unit, signed}: a raw map, where its cells lie in the photograph, its unit, and whether it is a
// difference, which is always drawn with two sides. null: no heat.
export function setHeat(heat) {
  shown.heat = heat;
  $("heat").hidden = !heat;
  for (const input of [$("signed"), $("clip")]) input.disabled = heat?.unit === "relative";
  redraw();
}

// Draws once before the next frame, even if several controls have changed.
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

// Draws the picture as shown on a canvas of another size. heat: another heat of the same photograph. end: the value of its
// last colour; the default comes from the controls.
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

// The map to draw, and where its cells lie. steps: cells of this map per cell of the raw map.
function drawnMap(map, placed, { smooth }) {
  if (!smooth) return { map, placed, steps: 1 };
  const finer = smoothed(map, placed.grid);
  return { ...finer, placed: placed.finer(finer.steps) };
}

// The options of drawing for one heat. end: the value of the last colour.
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

// Numbers that are not finite are drawn as 0.
const strength = (value, signed) => (Number.isFinite(value) ? (signed ? Math.abs(value) : Math.max(value, 0)) : 0);

const highest = (map, signed) => map.reduce((most, value) => Math.max(most, strength(value, signed)), 0);

// A percentile of the strengths of all places that support the class; if signed, also of those against it.
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

// The colour bar, as a picture of one row. signed: as in `lookOf`.
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

// Shows the values at the ends of the colour bar.
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
