// The maps of all classes of one photograph, from an answer's outputs.maps: what each place adds to each logit.

import { Placement } from "./placement.js";

export class ClassMaps {
  // given: outputs.maps of an answer. frame, size: of the same answer.
  constructor(given, frame, size) {
    [this.count, this.height, this.width] = given.shape;
    this.values = numbersOf(given.b64);
    this.rowOf = new Map(given.classes.map((index, row) => [index, row]));
    this.classes = given.classes;
    this.bias = given.bias;
    this.placement = new Placement(given.placement, frame, size);
    this.cells = this.width * this.height;
  }

  has(index) {
    return this.rowOf.has(index);
  }

  of(index) {
    const row = this.rowOf.get(index);
    return this.values.subarray(row * this.cells, (row + 1) * this.cells);
  }

  // The map of a class, minus the map of `against` if given. contrast: minus the mean map of all other classes.
  map({ index, against = null }, contrast = false) {
    if (against !== null) return this.of(index).map((value, cell) => value - this.of(against)[cell]);
    if (!contrast || this.count < 2) return this.of(index);
    this.sum ??= this.total();
    return this.of(index).map((value, cell) => (value * this.count - this.sum[cell]) / (this.count - 1));
  }

  // The part of a logit, or of a difference of logits, that comes from no place.
  constant({ index, against = null }) {
    return this.bias[this.rowOf.get(index)] - (against === null ? 0 : this.bias[this.rowOf.get(against)]);
  }

  total() {
    const sum = new Float64Array(this.cells);
    for (let at = 0; at < this.values.length; at += 1) sum[at % this.cells] += this.values[at];
    return sum;
  }

  // The classes to which a place of the photograph adds most, the best first: [index, logits].
  votes(x, y, count) {
    const [u, v] = [this.clamped(0, x), this.clamped(1, y)];
    const [left, top] = [u, v].map(Math.floor);
    const [right, bottom] = [Math.min(left + 1, this.width - 1), Math.min(top + 1, this.height - 1)];
    const corners = [
      [top * this.width + left, (1 - u + left) * (1 - v + top)],
      [top * this.width + right, (u - left) * (1 - v + top)],
      [bottom * this.width + left, (1 - u + left) * (v - top)],
      [bottom * this.width + right, (u - left) * (v - top)],
    ];
    const found = this.classes.map((index, row) => {
      return [index, corners.reduce((sum, [cell, weight]) => sum + weight * this.values[row * this.cells + cell], 0)];
    });
    return found.sort(([i, a], [j, b]) => b - a || i - j).slice(0, count);
  }

  clamped(axis, pixel) {
    return Math.min(Math.max(this.placement.cell(axis, pixel), 0), (axis ? this.height : this.width) - 1);
  }

  // What a box of the photograph adds to the target of `map`, in logits. The value is exact.
  share(map, [left, top, right, bottom]) {
    const [across, down] = [this.placement.spread(0, left, right), this.placement.spread(1, top, bottom)];
    let sum = 0;
    for (let v = 0; v < this.height; v += 1) {
      for (let u = 0; u < this.width; u += 1) sum += down[v] * across[u] * map[v * this.width + u];
    }
    return sum / this.cells;
  }
}

// The numbers of a float32 .npy file in base64. Bytes 8 and 9 hold the length of its header.
function numbersOf(b64) {
  const letters = atob(b64);
  const bytes = new Uint8Array(letters.length);
  for (let at = 0; at < bytes.length; at += 1) bytes[at] = letters.charCodeAt(at);
  return new Float32Array(bytes.buffer.slice(10 + bytes[8] + 256 * bytes[9]));
}
