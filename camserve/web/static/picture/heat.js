// Paints heat over the pixels of a photograph, like camserve/render/painting.py, to within rounding. The comments there
// explain the method.

const [CLEAR_TO, OPAQUE_FROM, TEXTURE] = [0.1, 0.7, 0.8];

// A photograph to paint on. pixels: those of an ImageData. grey: paint on a grey copy.
export class Ground {
  constructor({ width, height, data }, grey) {
    Object.assign(this, { width, height });
    this.pixels = new Uint32Array(data.buffer.slice(0));
    this.luminance = luminanceOf(data);
    if (grey) this.luminance.forEach((level, at) => (this.pixels[at] = 0xff000000 | (level * 0x10101)));
    this.texture = this.textureOf(new Uint8Array(this.pixels.buffer));
    this.painted = new Uint32Array(this.pixels.length);
  }

  // The local contrast of each pixel: its luminance minus the mean around it; 128 means no contrast.
  textureOf(bytes) {
    const { width, height, luminance } = this;
    const block = 2 ** Math.max(1, Math.round(Math.log2(0.03 * Math.sqrt(width * height))));
    const means = blockMeans(bytes, width, height, block);
    const [across, down] = [placesIn(width, block, means.width), placesIn(height, block, means.height)];
    const wide = new Uint8Array(width * means.height);
    for (let row = 0, at = 0; row < means.height; row += 1) {
      for (let x = 0; x < width; x += 1, at += 1) {
        const place = row * means.width + across.before[x];
        const next = row * means.width + Math.min(across.before[x] + 1, means.width - 1);
        wide[at] = Math.round(means.levels[place] + (means.levels[next] - means.levels[place]) * across.share[x]);
      }
    }
    const texture = new Uint8Array(width * height);
    for (let y = 0, at = 0; y < height; y += 1) {
      const [first, share] = [down.before[y] * width, down.share[y]];
      const second = Math.min(down.before[y] + 1, means.height - 1) * width;
      for (let x = 0; x < width; x += 1, at += 1) {
        const around = wide[first + x] + (wide[second + x] - wide[first + x]) * share;
        const value = 128.5 + TEXTURE * (luminance[at] - around);
        texture[at] = value < 0 ? 0 : value > 255 ? 255 : value;
      }
    }
    return texture;
  }

  // The painted pixels, as an ImageData. map: shares of the scale, 0 to 1 or -1 to 1. placement: where its cells lie.
  // palette: 256 colours of 3 bytes. signed: 0 is the middle of the palette. bare: the colours alone.
  paint(map, placement, { palette, alpha, signed, bare }) {
    const { width, height, pixels, painted, texture, luminance } = this;
    const [gain, start] = signed ? [128, 128] : [255, 0.5];
    const levels = new Float32Array(map.length);
    for (let cell = 0; cell < map.length; cell += 1) levels[cell] = map[cell] * gain + start;
    const [inks, opacity] = inksOf(palette, alpha, signed, bare);
    painted.set(pixels);
    placement.eachRow(levels, (y, row, { before, share }) => {
      for (let x = 0, at = y * width; x < width; x += 1, at += 1) {
        const cell = before[x];
        const value = row[cell] + (row[cell + 1] - row[cell]) * share[x];
        const level = value < 0 ? 0 : value > 255 ? 255 : value | 0;
        const cover = opacity[level];
        if (cover === 0) continue;
        const ink = inks[(level << 8) | texture[at]];
        painted[at] = cover === 255 ? ink : blend(pixels[at], ink, cover);
      }
    });
    if (!placement.sawAll) veil(painted, luminance, placement, width, height);
    return new ImageData(new Uint8ClampedArray(painted.buffer), width, height);
  }
}

function blend(below, ink, cover) {
  const clear = 255 - cover;
  let red = (below & 255) * clear + (ink & 255) * cover + 128;
  let green = ((below >>> 8) & 255) * clear + ((ink >>> 8) & 255) * cover + 128;
  let blue = ((below >>> 16) & 255) * clear + ((ink >>> 16) & 255) * cover + 128;
  red = ((red >>> 8) + red) >>> 8;
  green = ((green >>> 8) + green) >>> 8;
  blue = ((blue >>> 8) + blue) >>> 8;
  return 0xff000000 | (blue << 16) | (green << 8) | red;
}

// Places that the model did not see are grey: dark ones become lighter, bright ones darker.
function veil(painted, luminance, placement, width, height) {
  const sawColumn = Uint8Array.from({ length: width }, (_, x) => Number(placement.saw(0, x)));
  for (let y = 0, at = 0; y < height; y += 1) {
    const sawRow = placement.saw(1, y);
    for (let x = 0; x < width; x += 1, at += 1) {
      if (sawRow && sawColumn[x]) continue;
      painted[at] = 0xff000000 | (Math.round(56 + 0.4 * luminance[at]) * 0x10101);
    }
  }
}

// The opacity of each level of heat, 0 to 255, as a smooth step.
function opacityOf(alpha, signed) {
  return Uint8Array.from({ length: 256 }, (_, level) => {
    const heat = level / 255;
    const strength = signed ? Math.abs(2 * heat - 1) : heat;
    const rise = Math.min(Math.max((strength - CLEAR_TO) / (OPAQUE_FROM - CLEAR_TO), 0), 1);
    return Math.round(255 * alpha * rise * rise * (3 - 2 * rise));
  });
}

const kept = { key: "", inks: new Uint32Array(256 * 256), opacity: null, palette: null };

// The colours, at [256 level + texture], and the opacity of each level.
function inksOf(palette, alpha, signed, bare) {
  const key = `${alpha}/${signed}/${bare}`;
  if (kept.key === key && kept.palette === palette) return [kept.inks, kept.opacity];
  const clipped = (value) => (value < 0 ? 0 : value > 255 ? 255 : value);
  for (let level = 0, at = 0; level < 256; level += 1) {
    const [red, green, blue] = palette.subarray(3 * level, 3 * level + 3);
    for (let texture = 0; texture < 256; texture += 1, at += 1) {
      const light = bare ? 0 : texture - 128;
      kept.inks[at] = 0xff000000 | (clipped(blue + light) << 16) | (clipped(green + light) << 8) | clipped(red + light);
    }
  }
  Object.assign(kept, { key, palette, opacity: bare ? new Uint8Array(256).fill(255) : opacityOf(alpha, signed) });
  return [kept.inks, kept.opacity];
}

function luminanceOf(data) {
  const levels = new Uint8Array(data.length / 4);
  for (let at = 0, from = 0; at < levels.length; at += 1, from += 4) {
    levels[at] = (19595 * data[from] + 38470 * data[from + 1] + 7471 * data[from + 2] + 0x8000) >> 16;
  }
  return levels;
}

// The luminance of the mean colour of each block of pixels. Blocks at the right and bottom may be smaller.
function blockMeans(bytes, width, height, block) {
  const [columns, rows] = [Math.ceil(width / block), Math.ceil(height / block)];
  const sums = new Uint32Array(3 * columns * rows);
  for (let y = 0, from = 0; y < height; y += 1) {
    for (let column = 0, at = 3 * Math.floor(y / block) * columns; column < columns; column += 1, at += 3) {
      let [red, green, blue] = [0, 0, 0];
      for (const end = from + 4 * Math.min(block, width - column * block); from < end; from += 4) {
        red += bytes[from];
        green += bytes[from + 1];
        blue += bytes[from + 2];
      }
      sums[at] += red;
      sums[at + 1] += green;
      sums[at + 2] += blue;
    }
  }
  const colours = new Uint8ClampedArray(4 * columns * rows);
  for (let cell = 0; cell < columns * rows; cell += 1) {
    const [column, row] = [cell % columns, Math.floor(cell / columns)];
    const count = Math.min(block, width - column * block) * Math.min(block, height - row * block);
    for (let side = 0; side < 3; side += 1) colours[4 * cell + side] = Math.floor(sums[3 * cell + side] / count + 0.5);
  }
  return { levels: luminanceOf(colours), width: columns, height: rows };
}

// For each of `count` pixels: the block before it, and how far the pixel lies behind the centre of this block.
function placesIn(count, block, blocks) {
  const [before, share] = [new Int32Array(count), new Float32Array(count)];
  for (let pixel = 0; pixel < count; pixel += 1) {
    const place = Math.min(Math.max((pixel + 0.5) / block - 0.5, 0), blocks - 1);
    before[pixel] = Math.floor(place);
    share[pixel] = place - before[pixel];
  }
  return { before, share };
}
