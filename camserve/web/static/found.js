// An answer of the service, and what can be drawn from it without another request: classes whose maps it contains.

import { ClassMaps } from "./picture/classmaps.js";
import { Placement } from "./picture/placement.js";
import { said, short } from "./words.js";

// As a share of a map's peak: maps that differ by less count as equal.
const EQUAL = 1e-3;

// The answer's own map, for picture.js. isDifference: whether the map is a difference of two classes.
export function heatOf(answer, isDifference) {
  const { image, frame, placement } = answer.provenance;
  const placed = new Placement(placement, frame, [image.width, image.height]);
  return { map: Float32Array.from(answer.map.flat()), placement: placed, unit: answer.unit, signed: isDifference };
}

// target: what is explained, {index, against}; null: neither a class nor a difference of two. maps: the maps of all classes;
// null: there are none, and `reason` says why. live: the answer's own map is one of them, so other classes need no request.
// names, scores: by class index, for the classes in the answer. size: [width, height]. field: the receptive field.
export class Found {
  // difference: the requested target, if it is a difference of two classes.
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

  // Whether the answer contains the maps of a target.
  has({ index, against }) {
    return Boolean(this.maps?.has(index)) && (against === null || this.maps.has(against));
  }

  get isContrast() {
    return this.answer.target.quantity === "contrast";
  }

  // What each place adds to a target; null: not known.
  sum(target) {
    const adds = target && this.answer.target.quantity !== "log-softmax" && this.has(target);
    return adds ? this.maps.map(target, this.isContrast) : null;
  }

  // The map of a target, for picture.js, and its `sum`.
  heat(target) {
    const sum = this.sum(target);
    const drawn = this.live ? { map: sum, placement: this.maps.placement } : this.own;
    const signed = Boolean(target) && target.against !== null;
    return { ...drawn, unit: this.answer.unit, signed, sides: signed ? this.sides(target) : null, sum };
  }

  name(target) {
    return target ? this.sides(target).join(" − ") : this.answer.target.name;
  }

  // The names of a target's classes.
  sides({ index, against }) {
    return [index, against].filter((one) => one !== null).map((one) => this.names[one] ?? `class ${one}`);
  }

  // The sum of all places and the constant, in words; "" if the sum is not a logit.
  addedUp(target) {
    const sum = this.sum(target);
    if (!sum || this.isContrast || this.answer.unit !== "logits") return "";
    const places = sum.reduce((total, value) => total + value, 0) / sum.length;
    const constant = this.maps.constant(target);
    const what = target.against === null ? "the logit" : "the difference of the logits";
    return `For ${this.name(target)}, all places together contribute ${short(places)} and the constant is ${short(constant)}: ${what} is ${short(places + constant)}.`;
  }
}

// Whether a map equals the one of the class maps in every cell.
function isEqual(own, sum, maps) {
  const peak = own.map.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  return sum !== null && String(own.placement.grid) === String(maps.placement.grid)
    && own.map.every((value, cell) => Math.abs(value - sum[cell]) <= EQUAL * peak);
}
