// A map with more cells, so that the drawn heat has no corners. camserve/geometry/smoothing.py explains the method.

const [FINEST, MOST] = [512, 16];

// map: [columns, rows] cells. Gives the finer map, and its number of steps per given cell.
export function smoothed(map, [columns, rows]) {
  const steps = Math.min(Math.max(Math.ceil(FINEST / Math.max(columns, rows)), 1), MOST);
  if (steps === 1) return { map, steps };
  const [wide, high] = [columns, rows].map((cells) => (cells - 1) * steps + 1);
  const across = new Float64Array(wide * rows);
  const line = new Line(Math.max(columns, rows));
  for (let row = 0; row < rows; row += 1) {
    line.read(map, row * columns, 1, columns);
    line.fill(across, row * wide, 1, steps);
  }
  const found = new Float32Array(wide * high);
  for (let column = 0; column < wide; column += 1) {
    line.read(across, column, wide, rows);
    line.fill(found, column, wide, steps);
  }
  return { map: found, steps };
}

// The values of a row or column of a map, and the slopes at them.
class Line {
  constructor(most) {
    [this.values, this.slopes, this.count] = [new Float64Array(most), new Float64Array(most), 0];
  }

  // Reads values from from[start], with a distance of `step`.
  read(from, start, step, count) {
    const { values, slopes } = this;
    this.count = count;
    for (let at = 0; at < count; at += 1) values[at] = from[start + at * step];
    slopes[0] = slopes[count - 1] = 0;
    for (let at = 1; at < count - 1; at += 1) slopes[at] = limited(values[at] - values[at - 1], values[at + 1] - values[at]);
  }

  // Writes to into[place] with a distance of `stride`, `steps` numbers per value.
  fill(into, place, stride, steps) {
    const { values, slopes, count } = this;
    for (let at = 0, to = place; at < count - 1; at += 1) {
      const [low, rise, leaving, arriving] = [values[at], values[at + 1] - values[at], slopes[at], slopes[at + 1]];
      const [square, cube] = [3 * rise - 2 * leaving - arriving, leaving + arriving - 2 * rise];
      for (let part = 0; part < steps; part += 1, to += stride) {
        const t = part / steps;
        into[to] = low + t * (leaving + t * (square + t * cube));
      }
    }
    into[place + (count - 1) * steps * stride] = values[count - 1];
  }
}

function limited(before, after) {
  if (before * after <= 0) return 0;
  return Math.sign(before) * Math.min(2 * Math.abs(before), 2 * Math.abs(after), Math.abs(before + after) / 2);
}
