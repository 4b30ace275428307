// Lines over a painted photograph: the outline of heat, boxes around it, and the edge of what the model saw. Each is a
// light line with dark sides, like in camserve/render/overlay.py.

const [LIGHT, DARK] = ["rgb(255 255 255)", "rgb(16 16 18)"];
export const SAMPLES = 16; // steps from one cell to the next, small enough for straight lines to follow the heat

const unitOf = ({ width, height }) => Math.max(0.6, Math.sqrt(width * height) / 500);

export function drawUnseen(context, placement) {
  const { width, height } = context.canvas;
  const [left, top, right, bottom] = [0, 1, 2, 3].map((side) => Math.round(placement.box[side]));
  const path = new Path2D();
  const line = (from, to) => (path.moveTo(...from), path.lineTo(...to));
  if (left > 0) line([left, top], [left, bottom]);
  if (right < width) line([right, top], [right, bottom]);
  if (top > 0) line([left, top], [right, top]);
  if (bottom < height) line([left, bottom], [right, bottom]);
  stroke(context, path);
}

// map: shares of its own maximum. level: the share to draw the line at. samples: steps from one cell to the next.
export function drawOutline(context, map, placement, level, samples = SAMPLES) {
  const path = new Path2D();
  for (const [from, to] of segments(map, placement, level, samples)) {
    path.moveTo(...from);
    path.lineTo(...to);
  }
  stroke(context, path);
}

function stroke(context, path) {
  const unit = unitOf(context.canvas);
  const light = Math.max(2, 1.5 * unit);
  context.lineCap = context.lineJoin = "round";
  for (const [colour, width] of [[DARK, light + 2 * unit], [LIGHT, light]]) {
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.stroke(path);
  }
}

// The lines along which heat is `level`, by marching squares: [[x, y], [x, y]] in pixels.
function segments(map, placement, level, samples) {
  const [xs, ys] = [0, 1].map((axis) => placesOf(placement, axis, samples));
  const heat = ys.map((y) => xs.map((x) => heatAt(map, placement, x, y) - level));
  const found = [];
  for (let row = 0; row + 1 < ys.length; row += 1) {
    for (let column = 0; column + 1 < xs.length; column += 1) {
      const corners = [
        [xs[column], ys[row], heat[row][column]],
        [xs[column + 1], ys[row], heat[row][column + 1]],
        [xs[column + 1], ys[row + 1], heat[row + 1][column + 1]],
        [xs[column], ys[row + 1], heat[row + 1][column]],
      ];
      const crossed = corners.flatMap(([x, y, here], side) => {
        const [nextX, nextY, there] = corners[(side + 1) % 4];
        if (here >= 0 === there >= 0) return [];
        const share = here / (here - there);
        return [[x + (nextX - x) * share + 0.5, y + (nextY - y) * share + 0.5]];
      });
      for (let pair = 0; pair + 1 < crossed.length; pair += 2) found.push([crossed[pair], crossed[pair + 1]]);
    }
  }
  return found;
}

// Places along an axis of what the model saw, in pixels: both ends, and between them equal steps from one cell centre to the
// next. The cell centres are included because the slope of the heat changes there.
function placesOf(placement, axis, samples) {
  const ends = [Math.max(placement.box[axis], 0), Math.min(placement.box[axis + 2], placement.size[axis])];
  const [low, high] = ends.map((edge) => edge - 0.5);
  const [first, last] = [low, high].map((place) => placement.cell(axis, place));
  const steps = Math.min(samples, Math.max(1, Math.floor((high - low) / (last - first))));
  const found = [low];
  for (let step = Math.floor(first * steps) + 1; step < last * steps; step += 1) found.push(placement.centre(axis, step / steps));
  return [...found, high];
}

function heatAt(map, placement, x, y) {
  const [width, height] = placement.grid;
  const [u, v] = [0, 1].map((axis) => Math.min(Math.max(placement.cell(axis, axis ? y : x), 0), placement.grid[axis] - 1));
  const [left, top] = [Math.floor(u), Math.floor(v)];
  const [right, bottom] = [Math.min(left + 1, width - 1), Math.min(top + 1, height - 1)];
  const upper = map[top * width + left] + (map[top * width + right] - map[top * width + left]) * (u - left);
  const lower = map[bottom * width + left] + (map[bottom * width + right] - map[bottom * width + left]) * (u - left);
  return upper + (lower - upper) * (v - top);
}

// Boxes around connected heat of at least `level`; touching corners connect.
export function drawBoxes(context, map, placement, level) {
  const unit = unitOf(context.canvas);
  const [side, line] = [Math.max(1, Math.round(unit)), Math.max(1, Math.round(1.5 * unit))];
  for (const [left, top, right, bottom] of boxesOf(map, placement, level)) {
    frame(context, DARK, [left - side, top - side, right + side, bottom + side], line + 2 * side);
    frame(context, LIGHT, [left, top, right, bottom], line);
  }
}

function frame(context, colour, [left, top, right, bottom], line) {
  context.fillStyle = colour;
  context.fillRect(left, top, right - left, line);
  context.fillRect(left, bottom - line, right - left, line);
  context.fillRect(left, top, line, bottom - top);
  context.fillRect(right - line, top, line, bottom - top);
}

// [left, top, right, bottom] of each connected region, in pixels, right and bottom exclusive, the one with most heat
// first: where two cross, the later one is on top.
function boxesOf(map, placement, level) {
  const found = [];
  const columns = [...Array(placement.size[0]).keys()].filter((x) => placement.saw(0, x));
  const [first, last] = [columns[0], columns.at(-1)];
  let above = [];
  placement.eachRow(map, (y, row, { before, share }) => {
    const runs = [];
    let run = null;
    for (let x = placement.saw(1, y) ? first : last + 1; x <= last; x += 1) {
      const cell = before[x];
      const heat = row[cell] + (row[cell + 1] - row[cell]) * share[x];
      if (heat < level) {
        run = null;
        continue;
      }
      if (!run) runs.push((run = { start: x, end: x, sum: 0, region: null }));
      run.end = x + 1;
      run.sum += heat;
    }
    for (const one of runs) {
      one.region = { box: [one.start, y, one.end, y + 1], sum: one.sum, into: null };
      found.push(one.region);
      for (const other of above) if (other.start <= one.end && other.end >= one.start) join(other.region, one.region);
    }
    above = runs;
  });
  return found.filter((region) => !region.into).sort((one, other) => other.sum - one.sum).map((region) => region.box);
}

function join(one, other) {
  const [from, to] = [one, other].map((region) => {
    while (region.into) region = region.into;
    return region;
  });
  if (from === to) return;
  from.into = to;
  to.sum += from.sum;
  to.box = to.box.map((edge, side) => (side < 2 ? Math.min : Math.max)(edge, from.box[side]));
}
