// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";
import { Ring } from "../../../clients/web/ring.js";
import { between, seeded } from "./random.js";

test("a ring does what a list does, whatever is done to it", () => {
  for (let seed = 0; seed < 50; seed++) {
    const random = seeded(seed);
    const capacity = between(random, 1, 40);
    const ring = new Ring(capacity);
    /** @type {number[]} */
    let list = [];
    let next = 0;
    for (let step = 0; step < 200; step++) {
      const count = between(random, 0, 50);
      const what = between(random, 0, 5);
      if (what <= 1) {
        const samples = Float32Array.from({ length: count }, () => next++);
        const taken = ring.write(samples);
        assert.equal(taken, Math.min(count, capacity - list.length));
        list.push(...samples.subarray(0, taken));
      } else if (what === 2) {
        const out = new Float32Array(60).fill(-1);
        const got = ring.readInto(out, 3, count);
        const expected = list.splice(0, count);
        assert.deepEqual([...out], [-1, -1, -1, ...expected, ...new Array(57 - expected.length).fill(-1)]);
        assert.equal(got, expected.length);
      } else if (what === 3) {
        ring.skip(count);
        list.splice(0, count);
      } else if (what === 4 && list.length) {
        const index = between(random, 0, list.length - 1);
        assert.equal(ring.peek(index), list[index]);
        ring.poke(index, -index);
        list[index] = -index;
      } else if (what === 5 && random() < 0.1) {
        ring.clear();
        list = [];
      }
      assert.equal(ring.size, list.length);
      assert.equal(ring.room, capacity - list.length);
    }
  }
});

test("a ring of no size is refused", () => {
  for (const capacity of [0, -1, 1.5, NaN, Infinity]) {
    assert.throws(() => new Ring(capacity), RangeError);
  }
});
