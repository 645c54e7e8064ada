// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";
import { FADE_MS, Playout } from "../../../clients/web/jitter.js";
import { between, seeded } from "./random.js";

const RATE_HZ = 24000;
const FRAME = 960;
const MS = RATE_HZ / 1000;
const FADE = FADE_MS * MS;
const QUANTUM = 64;

const playout = (live = true) => new Playout({ rateHz: RATE_HZ, frameSamples: FRAME, live });
/** Samples that tell their place: none is 0, neighbours are close. @param {number} from @param {number} count */
const ramp = (from, count) => Float32Array.from({ length: count }, (_, i) => 0.1 + (from + i) / 2 ** 22);
/** @param {Playout} buffer @param {number} count */
function pull(buffer, count) {
  const out = new Float32Array(count);
  for (let at = 0; at < count; at += QUANTUM) {
    buffer.pull(out.subarray(at, Math.min(at + QUANTUM, count)), Math.min(QUANTUM, count - at));
  }
  return out;
}

/**
 * Frames that come every 40 ms, each later by what `lateMs` says, against a sound card that is never late.
 * @param {Playout} buffer @param {number} frames @param {(frame: number) => number} lateMs @param {(at: number) => Float32Array} sound
 */
function drive(buffer, frames, lateMs, sound = (at) => ramp(at, FRAME)) {
  let newest = 0;
  const due = Array.from({ length: frames }, (_, i) => (newest = Math.max(newest, (i + 1) * FRAME + lateMs(i) * MS)));
  /** @type {number[]} */
  const out = [];
  const depths = [];
  for (let next = 0; out.length < frames * FRAME; ) {
    while (next < frames && due[next] <= out.length) {
      buffer.push(sound(next * FRAME), next * FRAME);
      next += 1;
    }
    out.push(...pull(buffer, QUANTUM));
    depths.push(buffer.buffered / MS);
  }
  return { out: Float32Array.from(out), depths };
}

test("it starts on one frame and a reserve of 10 ms, and changes no sample", () => {
  const buffer = playout();
  buffer.push(ramp(0, FRAME), 0);
  buffer.push(ramp(FRAME, FRAME), FRAME);
  const out = pull(buffer, 10 * MS + 2 * FRAME);
  assert.ok(out.subarray(0, 10 * MS).every((sample) => sample === 0));
  assert.deepEqual(out.subarray(10 * MS), ramp(0, 2 * FRAME));
  assert.equal(buffer.time, 2 * FRAME);
  assert.equal(buffer.underruns, 0);
});

test("less than a frame waits, unless it is all there is", () => {
  const buffer = playout();
  buffer.push(ramp(0, 100), 0);
  assert.ok(pull(buffer, 4800).every((sample) => sample === 0));
  buffer.endsAt(100);
  const out = pull(buffer, 4800);
  assert.deepEqual(out.subarray(10 * MS, 10 * MS + 100), ramp(0, 100));
  assert.equal(buffer.underruns, 0);
});

test("frames that are late by no more than the reserve are heard without a gap", () => {
  for (let seed = 0; seed < 10; seed++) {
    const random = seeded(seed);
    const buffer = playout();
    // the first one is in time, so that all the others have the whole reserve
    const { out } = drive(buffer, 60, (frame) => (frame ? random() * 7 : 0));
    const start = out.findIndex((sample) => sample !== 0);
    assert.deepEqual(out.subarray(start), ramp(0, out.length - start));
    assert.equal(buffer.underruns, 0);
    assert.equal(buffer.skipped, 0);
  }
});

test("whatever comes late, every sample is heard once and in order, and what breaks off fades", () => {
  for (let seed = 0; seed < 20; seed++) {
    const random = seeded(seed);
    const buffer = playout(false);
    const { out } = drive(buffer, 80, () => random() ** 6 * 300);
    const place = (/** @type {number} */ sample) => Math.round((sample - 0.1) * 2 ** 22);
    let expected = 0;
    for (let i = out.findIndex((sample) => sample !== 0) + 1; i < out.length; i++) {
      assert.ok(Math.abs(out[i] - out[i - 1]) < 0.02, "a click");
      if (out[i] > 0.1 && place(out[i]) > expected - 1) {
        // after a gap the first of them are still rising
        assert.ok(place(out[i]) - expected <= FADE, `seed ${seed}: ${place(out[i]) - expected} samples are missing`);
        expected = place(out[i]) + 1;
      }
    }
    assert.ok(buffer.time <= 80 * FRAME && expected >= buffer.time - FADE);
  }
});

test("the reserve grows where sound is late inside of a segment, and shrinks when all is calm", () => {
  const buffer = playout();
  const { depths } = drive(buffer, 1300, (frame) => (frame < 200 ? (frame % 10) * 8 : 0));
  assert.ok(buffer.underruns >= 2 && buffer.underruns <= 8, `${buffer.underruns}`);
  const troubled = Math.max(...depths.slice(0, 200 * 15));
  const calm = Math.max(...depths.slice(-200 * 15));
  assert.ok(buffer.reserve < 60 * MS, `${buffer.reserve / MS}`);
  assert.ok(calm < troubled - 20, `${calm} ${troubled}`);
  assert.ok(calm <= 40 + buffer.reserve / MS + 10);
});

test("a reserve has bounds", () => {
  const buffer = playout();
  for (let i = 0; i < 40; i++) {
    buffer.push(ramp(i * FRAME, FRAME), i * FRAME);
    pull(buffer, FRAME + 300 * MS);
  }
  assert.equal(buffer.underruns, 40);
  assert.equal(buffer.reserve, 80 * MS);
});

test("a gap that was announced is no underrun, whenever it is told", () => {
  for (const early of [true, false]) {
    const buffer = playout();
    buffer.push(ramp(0, FRAME), 0);
    if (early) {
      buffer.endsAt(FRAME);
    }
    pull(buffer, FRAME + 100 * MS);
    buffer.endsAt(FRAME);
    buffer.push(ramp(FRAME, FRAME), FRAME); // another segment
    assert.equal(buffer.underruns, 0);
    assert.equal(buffer.reserve, 10 * MS);
    pull(buffer, FRAME + 100 * MS);
    assert.equal(buffer.underruns, 1); // inside of it
  }
});

test("live sound that has piled up is caught up with, without a click and without losing the tone", () => {
  const tone = (/** @type {number} */ at) =>
    Float32Array.from({ length: FRAME }, (_, i) => 0.5 * Math.sin((2 * Math.PI * 150 * (at + i)) / RATE_HZ));
  const buffer = playout();
  const { out, depths } = drive(buffer, 400, (frame) => (frame > 50 && frame < 58 ? (58 - frame) * 40 : 0), tone);
  assert.equal(buffer.underruns, 1);
  assert.ok(Math.max(...depths) > 250, "a stall piles sound up");
  const late = depths.slice(-2000);
  assert.ok(Math.max(...late) < 40 + buffer.reserve / MS + 10, `${Math.max(...late)} ms are left`);
  assert.ok(buffer.skipped > 200 * MS);
  const steepest = 2 * Math.PI * 150 * 0.5 * 1.2;
  for (let i = 1; i < out.length; i++) {
    assert.ok(Math.abs(out[i] - out[i - 1]) * RATE_HZ < steepest + (RATE_HZ * 0.5 * 2) / FADE, `a click at ${i}`);
  }
  const rest = out.subarray(-RATE_HZ);
  assert.ok(Math.abs(Math.hypot(...rest) / Math.sqrt(rest.length) - 0.5 / Math.SQRT2) < 0.005);
});

test("sound that waits is never skipped", () => {
  const buffer = playout(false);
  for (let i = 0; i < 200; i++) {
    buffer.push(ramp(i * FRAME, FRAME), i * FRAME);
  }
  const out = pull(buffer, 200 * FRAME + 10 * MS);
  assert.deepEqual(out.subarray(10 * MS), ramp(0, 200 * FRAME));
});

test("nothing of a cancelled generation is heard after 5 ms, at any moment", () => {
  for (let seed = 0; seed < 30; seed++) {
    const random = seeded(seed);
    const buffer = playout();
    for (let i = 0; i < 10; i++) {
      buffer.push(ramp(i * FRAME, FRAME), i * FRAME);
    }
    const heard = pull(buffer, between(random, 1, 9 * FRAME));
    buffer.restart();
    const after = pull(buffer, 480 * MS);
    assert.ok(after.subarray(5 * MS).every((sample) => sample === 0));
    const joined = [...heard, ...after];
    for (let i = heard.length; i < joined.length; i++) {
      assert.ok(Math.abs(joined[i] - joined[i - 1]) < 0.01, "a click");
    }
    assert.equal(buffer.time, 0);
    assert.equal(buffer.buffered, 0);
    buffer.push(ramp(500_000, FRAME), 0);
    const next = pull(buffer, 10 * MS + FRAME);
    assert.deepEqual(next.subarray(10 * MS), ramp(500_000, FRAME));
  }
});

test("a jump in time is a gap: it fades, and the time is told right on either side", () => {
  const buffer = playout();
  buffer.push(ramp(0, FRAME), 0);
  buffer.push(ramp(5 * FRAME, FRAME), 5 * FRAME);
  const first = pull(buffer, 10 * MS + FRAME - FADE);
  assert.equal(buffer.time, FRAME - FADE);
  assert.deepEqual(first.subarray(10 * MS), ramp(0, FRAME - FADE));
  const gap = pull(buffer, 2 * FADE);
  assert.ok(Math.min(...gap) < 0.01);
  assert.equal(buffer.time, 5 * FRAME + FADE);
  assert.deepEqual(pull(buffer, FRAME - FADE), ramp(5 * FRAME + FADE, FRAME - FADE));
  assert.equal(buffer.time, 6 * FRAME);
});

test("time is right through any number of jumps", () => {
  for (let seed = 0; seed < 20; seed++) {
    const random = seeded(seed);
    const buffer = playout(false);
    let time = 0;
    /** @type {number[]} */
    const times = [];
    for (let i = 0; i < 50; i++) {
      const count = between(random, 1, 2 * FRAME);
      buffer.push(ramp(0, count), time);
      times.push(...Array.from({ length: count }, (_, k) => time + k));
      time += count + (random() < 0.5 ? between(random, 1, 5000) : 0);
    }
    pull(buffer, 10 * MS);
    for (let read = 0; read < times.length; ) {
      assert.equal(buffer.time, times[read]);
      const count = Math.min(between(random, 1, 500), times.length - read);
      pull(buffer, count);
      read += count;
    }
  }
});

test("a sender that disregards its credit is counted", () => {
  const buffer = playout();
  for (let i = 0; i < 300; i++) {
    buffer.push(ramp(0, FRAME), i * FRAME);
  }
  assert.equal(buffer.overflowed, 300 * FRAME - 10 * RATE_HZ);
});
