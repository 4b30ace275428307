// The picture: a photograph with heat over it, drawn in the browser with the page's options.

import { colourBar, drawHeat, groundOf, lookAt, paletteFrom, scaleEnds } from "./drawing.js";

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
  shown.grounds[key] ??= groundOf(shown.photo, size, grey);
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

// heat: see drawing.js. null: no heat.
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
export function draw(canvas, size, heat = shown.heat, end = null) {
  const look = lookOf(heat);
  drawHeat(canvas, ground(look.grey, size), heat, { ...look, end: end ?? look.end });
}

// The options of drawing for one heat.
export function lookOf(heat) {
  return lookAt(heat, {
    signed: $("signed").checked,
    clip: Number($("clip").value),
    alpha: Number($("opacity").value),
    bare: $("only-map").checked,
    grey: $("grey").checked,
    contour: $("contour").checked,
    boxes: $("boxes").checked,
    smooth: $("smooth").checked,
    threshold: Number($("threshold").value),
  }, paletteOf);
}

// ---- colours and their scale

function paletteOf(signed) {
  const option = $("colormap").selectedOptions[0];
  return paletteFrom((signed && option.dataset.signed) || option.dataset.colours);
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

export const endsOf = (heat, last = lookOf(heat).end) => scaleEnds(heat, lookOf(heat), last);
