// What an answer of the service found, and what can be drawn of it without another: of classes whose maps it has.

import { ClassMaps } from "./picture/classmaps.js";
import { Placement } from "./picture/placement.js";
import { said, short } from "./words.js";

// Of a map's peak: maps that differ by less are one.
const EQUAL = 1e-3;

// What picture.js draws of an answer's own map. isDifference: whether it has two sides.
export function heatOf(answer, isDifference) {
  const { image, frame, placement } = answer.provenance;
  const placed = new Placement(placement, frame, [image.width, image.height]);
  return { map: Float32Array.from(answer.map.flat()), placement: placed, unit: answer.unit, signed: isDifference };
}

// target: what is explained, {index, against}; null: something else than a class or a difference of two. maps: of all
// classes, null where there are none, for a reason. live: the answer's own map is among them, so that other classes
// need no request. names, scores: by the index of a class, as far as they came along. size: [width, height]. field: what cells can have seen.
export class Found {
  // difference: the target that was asked for, where it was one.
  constructor(answer, difference) {
    const { image, frame, placement } = answer.provenance;
    const { maps } = answer.outputs;
    this.answer = answer;
    this.size = [image.width, image.height];
    this.placement = new Placement(placement, frame, this.size);
    this.field = answer.receptive_field;
    this.reason = maps.reason ?? "";
    this.maps = maps.b64 ? new ClassMaps(maps, frame, this.size) : null;
    [this.names, this.scores] = [[], []];
    this.names[answer.class_index] = answer.class_name;
    for (const one of answer.top) {
      this.names[one.class_index] = one.class_name;
      this.scores[one.class_index] = said(one);
    }
    const isClass = answer.target.name === answer.class_name;
    this.target = isClass ? { index: answer.class_index, against: null } : difference;
    this.own = { map: Float32Array.from(answer.map.flat()), placement: this.placement };
    this.live = Boolean(this.target) && this.has(this.target) && isEqual(this.own, this.sum(this.target), this.maps);
  }

  // Whether the maps of a target are here.
  has({ index, against }) {
    return Boolean(this.maps?.has(index)) && (against === null || this.maps.has(against));
  }

  get isContrast() {
    return this.answer.target.quantity === "contrast";
  }

  // What each place adds to a target; null where that is not known.
  sum(target) {
    const adds = target && this.answer.target.quantity !== "log-softmax" && this.has(target);
    return adds ? this.maps.map(target, this.isContrast) : null;
  }

  // What picture.js draws of a target, and its `sum`.
  heat(target) {
    const sum = this.sum(target);
    const drawn = this.live ? { map: sum, placement: this.maps.placement } : this.own;
    return { ...drawn, unit: this.answer.unit, signed: Boolean(target) && target.against !== null, sum };
  }

  name(target) {
    if (!target) return this.answer.target.name;
    const sides = [target.index, target.against].filter((index) => index !== null);
    return sides.map((index) => this.names[index] ?? `class ${index}`).join(" − ");
  }

  // What all places and the constant add up to, in words; "" where that is no logit.
  addedUp(target) {
    const sum = this.sum(target);
    if (!sum || this.isContrast || this.answer.unit !== "logits") return "";
    const places = sum.reduce((total, value) => total + value, 0) / sum.length;
    const constant = this.maps.constant(target);
    const what = target.against === null ? "the logit" : "the difference of the logits";
    return `For ${this.name(target)} all places here give ${short(places)} together, and the constant is ${short(constant)}: ${what} is ${short(places + constant)}.`;
  }
}

// Whether a map is the same as that of the class maps, cell by cell.
function isEqual(own, sum, maps) {
  const peak = own.map.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  return sum !== null && String(own.placement.grid) === String(maps.placement.grid)
    && own.map.every((value, cell) => Math.abs(value - sum[cell]) <= EQUAL * peak);
}
