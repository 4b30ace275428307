// Draws heat over a photograph on a canvas. The caller gives all options; this module reads no controls. picture.js uses it
// for the page, notebook/live_canvas.js for notebooks.

import { Ground } from "./heat.js";
import { SAMPLES, drawBoxes, drawOutline, drawUnseen } from "./lines.js";
import { smoothed } from "./smooth.js";
import { short } from "../words.js";

// image: an img or an ImageBitmap to paint on, drawn in the given size. grey: draw it without colours.
export function groundOf(image, size, grey) {
  const context = new OffscreenCanvas(...size).getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.fillStyle = "#fff"; // the service also makes transparent pixels white
  context.fillRect(0, 0, ...size);
  context.drawImage(image, 0, 0, ...size);
  return new Ground(context.getImageData(0, 0, ...size), grey);
}

// Draws heat on a canvas, over a ground of its size. look: from `lookAt`; the caller may replace its end.
export function drawHeat(canvas, ground, heat, look) {
  const size = [ground.width, ground.height];
  const context = canvas.getContext("2d");
  if (canvas.width !== size[0] || canvas.height !== size[1]) [canvas.width, canvas.height] = size;
  const placed = heat.placement.within(size);
  const painted = drawnMap(sharesOf(heat.map, look.end, look.signed), placed, look);
  context.putImageData(ground.paint(painted.map, painted.placed, look), 0, 0);
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

// The options of drawing for one heat. heat: {map, placement, unit, signed}: a raw map, where its cells lie in the
// photograph, its unit, and whether it is a difference, which is always drawn with two sides. choice: {signed, clip, alpha,
// bare, grey, contour, boxes, smooth, threshold}. paletteOf(signed): the colours. end: the value of the last colour.
export function lookAt({ map, unit, signed: twoSides = false }, choice, paletteOf) {
  const signed = unit !== "relative" && (twoSides || choice.signed);
  const clip = unit === "relative" ? 100 : choice.clip;
  const end = clip < 100 ? percentile(map, clip, signed) : highest(map, signed);
  return { ...choice, signed, clip, end, palette: paletteOf(signed) };
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

// b64: the 256 colours of a colour map, three bytes each.
export function paletteFrom(b64) {
  if (!palettes.has(b64)) palettes.set(b64, Uint8Array.from(atob(b64), (letter) => letter.charCodeAt(0)));
  return palettes.get(b64);
}

// The colour bar, as a picture of one row.
export function colourBar(canvas, palette) {
  [canvas.width, canvas.height] = [256, 1];
  const pixels = new ImageData(256, 1);
  for (let at = 0; at < 256; at += 1) pixels.data.set([...palette.subarray(3 * at, 3 * at + 3), 255], 4 * at);
  canvas.getContext("2d").putImageData(pixels, 0, 0);
}

// What the ends of the colours mean, in words. last: the value of the last colour.
export function scaleEnds(heat, { signed, clip }, last) {
  const inLogits = heat.unit === "logits";
  if (heat.sides && inLogits) return [`for ${heat.sides[1]} ${short(last)}`, `for ${heat.sides[0]} ${short(last)} logits`];
  const beyond = clip < 100 ? "≥ " : "";
  const low = signed ? (inLogits ? `${heat.signed ? "for the other" : "against"} ${short(-last)}` : "against") : inLogits ? "0" : "little";
  return [low, inLogits ? `${signed ? "for " : ""}${beyond}${short(last)} logits` : signed ? "for" : "most"];
}
