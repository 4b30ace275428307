// A map with more cells, that drawing it shows no corners: camserve/geometry/smoothing.py says how and why.

const [FINEST, MOST] = [512, 16];

// map: of [columns, rows] cells. Gives the finer map and how many of its steps make one of the given.
export function smoothed(map, [columns, rows]) {
  const steps = Math.min(Math.max(Math.ceil(FINEST / Math.max(columns, rows)), 1), MOST);
  if (steps === 1) return { map, steps };
  const wide = Math.max((columns - 1) * steps + 1, 1);
  const high = Math.max((rows - 1) * steps + 1, 1);
  const across = new Float64Array(wide * rows);
  for (let row = 0; row < rows; row += 1) filled(map, row * columns, 1, columns, steps, across, row * wide, 1);
  const found = new Float64Array(wide * high);
  for (let column = 0; column < wide; column += 1) filled(across, column, wide, rows, steps, found, column, wide);
  return { map: Float32Array.from(found), steps };
}

// Values from[start], from[start + step] ... with `steps` for each of theirs, into[place], into[place + stride] ...
function filled(from, start, step, count, steps, into, place, stride) {
  const value = (at) => from[start + Math.min(Math.max(at, 0), count - 1) * step];
  const slope = (at) => limited(value(at) - value(at - 1), value(at + 1) - value(at));
  for (let at = 0; at < count - 1; at += 1) {
    const [low, high] = [value(at), value(at + 1)];
    const [leaving, arriving] = [slope(at), slope(at + 1)];
    const rise = high - low;
    for (let part = 0; part < steps; part += 1) {
      const t = part / steps;
      const [square, cube] = [3 * rise - 2 * leaving - arriving, leaving + arriving - 2 * rise];
      into[place + (at * steps + part) * stride] = low + t * (leaving + t * (square + t * cube));
    }
  }
  into[place + (count - 1) * steps * stride] = value(count - 1);
}

function limited(before, after) {
  if (before * after <= 0) return 0;
  return Math.sign(before) * Math.min(2 * Math.abs(before), 2 * Math.abs(after), Math.abs(before + after) / 2);
}
