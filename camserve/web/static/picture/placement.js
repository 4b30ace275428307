// Where the cells of a map lie in a photograph, as in camserve/geometry/frame.py: the frame's box of the photograph became
// the network's input; in the input, cell c is at pixel stride c + offset. Axis 0 runs across, axis 1 down.

const OUTSIDE = 1e-6; // share of the widest cell: a smaller part of a cell in the photograph is only a rounding error

export class Placement {
  // placed, frame: from an answer's provenance. size: [width, height] of the photograph, the unit of all pixels here.
  constructor({ grid, stride, offset }, { box, input }, size) {
    Object.assign(this, { grid, stride, offset, box, input, size });
  }

  // The same placement in a copy of the photograph with another size.
  within(size) {
    const box = this.box.map((edge, side) => (edge * size[side % 2]) / this.size[side % 2]);
    return new Placement(this, { box, input: this.input }, size);
  }

  // The placement of a map with `steps` cells per cell of this one.
  finer(steps) {
    const grid = this.grid.map((cells) => (cells - 1) * steps + 1);
    const stride = this.stride.map((one) => one / steps);
    return new Placement({ grid, stride, offset: this.offset }, { box: this.box, input: this.input }, this.size);
  }

  // The cell at a pixel's centre, as a fractional number.
  cell(axis, pixel) {
    const scale = this.input[axis] / (this.box[axis + 2] - this.box[axis]);
    return ((pixel + 0.5 - this.box[axis]) * scale - 0.5 - this.offset[axis]) / this.stride[axis];
  }

  // The photograph's pixel at a pixel of the input.
  pixel(axis, input) {
    const scale = this.input[axis] / (this.box[axis + 2] - this.box[axis]);
    return (input + 0.5) / scale + this.box[axis] - 0.5;
  }

  // The pixel at the centre of a cell.
  centre(axis, cell) {
    return this.pixel(axis, this.stride[axis] * cell + this.offset[axis]);
  }

  saw(axis, pixel) {
    return pixel + 0.5 >= this.box[axis] && pixel + 0.5 <= this.box[axis + 2];
  }

  get sawAll() {
    return this.box.every((edge, side) => edge === [0, 0, ...this.size][side]);
  }

  // For each pixel of an axis: the cell before it, and its distance from that cell, 0 to 1; constant at the ends.
  steps(axis) {
    const [count, last] = [this.size[axis], this.grid[axis] - 1];
    const [before, share] = [new Int32Array(count), new Float32Array(count)];
    for (let pixel = 0; pixel < count; pixel += 1) {
      const inside = Math.min(Math.max(this.cell(axis, pixel), 0), last);
      before[pixel] = Math.min(Math.floor(inside), Math.max(last - 1, 0));
      share[pixel] = inside - before[pixel];
    }
    return { before, share };
  }

  // Calls told(y, row, across) for each row of the photograph, from top to bottom. The heat of pixel x is interpolated
  // between row[across.before[x]] and the next value, by across.share[x].
  eachRow(map, told) {
    const [across, down] = [this.steps(0), this.steps(1)];
    const cells = this.grid[0];
    const row = new Float32Array(cells + 1); // one more value, behind the last cell
    for (let y = 0; y < this.size[1]; y += 1) {
      const [first, share] = [down.before[y] * cells, down.share[y]];
      const next = Math.min(first + cells, map.length - cells);
      for (let u = 0; u < cells; u += 1) row[u] = map[first + u] + (map[next + u] - map[first + u]) * share;
      told(y, row, across);
    }
  }

  // The pixels that the cell at a pixel can depend on, [left, top, right, bottom], as in
  // camserve/explanation/receptive_box.py. field: an answer's receptive_field.
  seenFrom(field, x, y) {
    if (field.everywhere) return this.box;
    const edges = [0, 1].map((axis) => {
      const cell = Math.round(this.cell(axis, axis ? y : x));
      const [first, last] = [field.first, field.last].map((one) => field.stride[axis] * cell + one[axis]);
      return [
        Math.max(this.pixel(axis, first - 0.5) + 0.5, this.box[axis]),
        Math.min(this.pixel(axis, last + 0.5) + 0.5, this.box[axis + 2]),
      ];
    });
    return [edges[0][0], edges[1][0], edges[0][1], edges[1][1]];
  }

  // The share of each cell between two edges of an axis, as in camserve/explanation/contributions.py.
  spread(axis, low, high) {
    const cells = this.grid[axis];
    const ends = [this.box[axis], this.box[axis + 2]];
    const [start, end, from, to] = [...ends, low, high].map((edge) => {
      return integrals(this.cell(axis, Math.min(Math.max(edge, ends[0]), ends[1]) - 0.5), cells);
    });
    const whole = end.map((one, cell) => one - start[cell]);
    const most = Math.max(...whole);
    const held = whole.map((one, cell) => (one > OUTSIDE * most ? cell : -1)).filter((cell) => cell >= 0);
    return whole.map((_, cell) => {
      const owner = Math.min(Math.max(cell, held[0]), held[held.length - 1]);
      return (to[owner] - from[owner]) / (whole[owner] || 1);
    });
  }
}

// The integral, up to a place, of a cell's weight in linear interpolation, which is constant outside the outermost cells.
function integrals(place, cells) {
  const inside = Math.min(Math.max(place, 0), cells - 1);
  const upto = Array.from({ length: cells }, (_, cell) => {
    const off = Math.min(Math.max(inside - cell, -1), 1);
    return off < 0 ? (off + 1) ** 2 / 2 : 1 - (1 - off) ** 2 / 2;
  });
  upto[0] += Math.min(place, 0);
  upto[cells - 1] += Math.max(place - (cells - 1), 0);
  return upto;
}

// A map whose longer side has at most `most` cells, each the mean of block x block cells, and where these lie. Cells at the
// right and bottom that do not fill a block are left out.
export function averaged({ map, placement }, most) {
  const [columns, rows] = placement.grid;
  const block = Math.min(Math.ceil(Math.max(columns, rows) / most), columns, rows);
  if (block <= 1) return { map, placement, block: 1 };
  const grid = [columns, rows].map((cells) => Math.floor(cells / block));
  const found = new Float32Array(grid[0] * grid[1]);
  for (let row = 0; row < grid[1] * block; row += 1) {
    for (let column = 0; column < grid[0] * block; column += 1) {
      found[Math.floor(row / block) * grid[0] + Math.floor(column / block)] += map[row * columns + column] / block ** 2;
    }
  }
  const stride = placement.stride.map((one) => one * block);
  const offset = placement.offset.map((one, axis) => one + ((block - 1) / 2) * placement.stride[axis]);
  return { map: found, placement: new Placement({ grid, stride, offset }, placement, placement.size), block };
}
