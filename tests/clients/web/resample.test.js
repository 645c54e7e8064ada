// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";
import { Resampler } from "../../../clients/web/resample.js";
import { between, seeded } from "./random.js";

const RATES = [
  [24000, 48000],
  [48000, 24000],
  [24000, 44100],
  [44100, 24000],
  [16000, 44100],
  [96000, 16000],
  [11025, 16000],
  [48000, 48000],
];

/** @param {number} hz @param {number} rateHz @param {number} count @param {number} [delay] samples */
function sine(hz, rateHz, count, delay = 0) {
  return Float32Array.from({ length: count }, (_, i) => Math.sin((2 * Math.PI * hz * (i - delay)) / rateHz));
}

/**
 * All of `input` through a resampler, in blocks.
 * @param {Resampler} resampler @param {Float32Array} input @param {() => number} block
 */
function through(resampler, input, block) {
  /** @type {number[]} */
  const out = [];
  for (let at = 0; at < input.length; ) {
    const piece = input.subarray(at, at + block());
    resampler.feed(piece, piece.length);
    at += piece.length;
    const made = new Float32Array(resampler.available);
    resampler.produce(made, 0, made.length);
    out.push(...made);
  }
  return Float32Array.from(out);
}

/** @param {Float32Array} a @param {Float32Array} b @param {number} from */
function worst(a, b, from) {
  let most = 0;
  for (let i = from; i < Math.min(a.length, b.length); i++) {
    most = Math.max(most, Math.abs(a[i] - b[i]));
  }
  return most;
}

for (const [inHz, outHz] of RATES) {
  const name = `${inHz} to ${outHz} Hz`;

  test(`${name}: a tone stays the tone that it was, a known time later`, () => {
    for (const share of [0.02, 0.3, 0.8]) {
      const hz = (share * Math.min(inHz, outHz)) / 2;
      const resampler = new Resampler(inHz, outHz, 4096);
      const out = through(resampler, sine(hz, inHz, 4096), () => 4096);
      const delay = (resampler.delaySamples * outHz) / inHz;
      const reference = sine(hz, outHz, out.length, delay);
      assert.ok(worst(out, reference, Math.ceil(2 * delay)) < 2e-4, `${hz} Hz: ${worst(out, reference, 2 * delay)}`);
    }
  });

  test(`${name}: what the lower rate cannot hold is gone`, () => {
    if (outHz < inHz) {
      const hz = 1.1 * (outHz / 2);
      const resampler = new Resampler(inHz, outHz, 8192);
      const out = through(resampler, sine(hz, inHz, 8192), () => 8192);
      const settled = out.subarray(Math.ceil((2 * resampler.delaySamples * outHz) / inHz));
      assert.ok(settled.length > 500 && Math.max(...settled.map(Math.abs)) < 2e-4);
    }
  });

  test(`${name}: blocks do not matter, and nothing is lost or added`, () => {
    for (let seed = 0; seed < 5; seed++) {
      const random = seeded(seed);
      const input = Float32Array.from({ length: 3000 }, () => 2 * random() - 1);
      const whole = through(new Resampler(inHz, outHz, 3000), input, () => 3000);
      const cut = through(new Resampler(inHz, outHz, 300), input, () => between(random, 1, 300));
      assert.deepEqual(cut, whole);
      assert.equal(whole.length, Math.ceil((input.length * outHz) / inHz));
    }
  });

  test(`${name}: it knows what it needs`, () => {
    const random = seeded(7);
    const resampler = new Resampler(inHz, outHz, 2048);
    for (let i = 0; i < 300; i++) {
      const count = between(random, 1, 128);
      const needed = resampler.needed(count);
      resampler.feed(new Float32Array(needed), needed);
      assert.ok(resampler.available >= count);
      assert.ok(resampler.available < count + Math.ceil(outHz / inHz) + 1);
      resampler.produce(new Float32Array(count), 0, count);
    }
  });
}

test("rates that are none are refused", () => {
  for (const rate of [0, -1, 0.5, NaN]) {
    assert.throws(() => new Resampler(rate, 48000, 128), RangeError);
    assert.throws(() => new Resampler(48000, rate, 128), RangeError);
  }
});

test("more than it was made for is refused, not forgotten", () => {
  const resampler = new Resampler(24000, 48000, 128);
  assert.throws(() => resampler.feed(new Float32Array(100_000), 100_000), RangeError);
});
