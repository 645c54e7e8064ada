// @ts-check
/** The two worklets as an audio thread runs them, at several rates of the sound card. */
import assert from "node:assert/strict";
import { test } from "node:test";

const WIRE_HZ = 24000;
const FRAME = 960;
/** @type {Record<string, any>} */
const processors = {};
const scope = /** @type {any} */ (globalThis);
scope.registerProcessor = (/** @type {string} */ name, /** @type {any} */ made) => (processors[name] = made);
scope.AudioWorkletProcessor = class {
  port = {
    /** @type {any[]} */ posted: [],
    onmessage: (/** @type {any} */ _event) => {},
    /** As a browser does: what is posted is copied, or moved. @param {any} message @param {ArrayBuffer[]} [moved] */
    postMessage(message, moved = []) {
      this.posted.push(structuredClone(message, { transfer: moved }));
    },
    /** @param {any} data */
    tell(data) {
      this.onmessage({ data });
    },
  };
};
scope.sampleRate = 48000;
await import("../../../clients/web/capture-worklet.js");
await import("../../../clients/web/playback-worklet.js");

/** @param {string} name @param {number} rateHz @param {object} options */
function made(name, rateHz, options) {
  scope.sampleRate = rateHz;
  return new processors[name]({ processorOptions: { wireHz: WIRE_HZ, ...options } });
}

const tone = (/** @type {number} */ i, /** @type {number} */ rateHz) => 0.5 * Math.sin((2 * Math.PI * 440 * i) / rateHz);

for (const rateHz of [24000, 44100, 48000, 96000]) {
  test(`a sound card at ${rateHz} Hz: what is said is what is sent`, () => {
    const capture = made("sottovoce-capture", rateHz, { blockSamples: 480 });
    const seconds = 0.25;
    for (let at = 0; at < seconds * rateHz; at += 128) {
      assert.ok(capture.process([[Float32Array.from({ length: 128 }, (_, i) => tone(at + i, rateHz))]]));
    }
    const blocks = capture.port.posted.filter((/** @type {any} */ each) => each.type === "captured");
    const level = capture.port.posted.filter((/** @type {any} */ each) => each.type === "level").at(-1);
    assert.ok(Math.abs(blocks.length - (1000 * seconds) / 20) <= 1);
    assert.ok(Math.abs(level.rms - 0.5 / Math.SQRT2) < 0.01 && level.missed === 0);
    const sent = blocks.flatMap((/** @type {any} */ each) => [...each.samples]);
    const rest = sent.slice(200);
    const best = Math.min(
      ...Array.from({ length: 200 }, (_, lag) =>
        Math.max(...rest.map((sample, i) => Math.abs(sample / 32768 - tone(i + 200 - lag / 2, WIRE_HZ)))),
      ),
    );
    assert.ok(best < 0.03, `${best}`); // the lag is found to half a sample
  });

  test(`a sound card at ${rateHz} Hz: what came is heard, and kept, and silent after a cancel`, () => {
    const playback = made("sottovoce-playback", rateHz, { frameSamples: FRAME, live: true });
    for (let frame = 0; frame < 5; frame++) {
      const samples = Float32Array.from({ length: FRAME }, (_, i) => tone(frame * FRAME + i, WIRE_HZ));
      playback.port.tell({ type: "sound", samples, time: frame * FRAME });
    }
    /** @type {number[]} */
    const out = [];
    const render = () => {
      const block = new Float32Array(128);
      assert.ok(playback.process([], [[block]]));
      out.push(...block);
    };
    while (out.length < 0.12 * rateHz) {
      render();
    }
    const settled = out.slice(Math.round(0.03 * rateHz));
    assert.ok(Math.abs(Math.hypot(...settled) / Math.sqrt(settled.length) - 0.5 / Math.SQRT2) < 0.01);
    playback.port.tell({ type: "restart", turn: 7 });
    const cancelled = out.length;
    while (out.length < cancelled + 0.1 * rateHz) {
      render();
    }
    const after = out.slice(cancelled + Math.ceil(0.005 * rateHz));
    assert.ok(Math.max(...after.map(Math.abs)) < 1e-6);
    playback.port.tell({ type: "stop" });
    while (playback.port.posted.at(-1).type !== "stopped") {
      render();
    }
    const posted = playback.port.posted;
    assert.equal(posted.at(-1).type, "stopped");
    assert.equal(posted.filter((/** @type {any} */ each) => each.type === "report").at(-1).turn, 7);
    const kept = posted.filter((/** @type {any} */ each) => each.type === "heard");
    const heard = kept.flatMap((/** @type {any} */ each) => [...each.samples.subarray(0, each.count)]);
    assert.equal(heard.length, out.length);
    heard.forEach((sample, i) => assert.ok(Math.abs(sample / 32768 - out[i]) <= 0.5 / 32768 + 1e-9));
    assert.equal(playback.process([], [[new Float32Array(128)]]), false);
  });
}

test("what is being played when it ends fades, and the end is told once", () => {
  const playback = made("sottovoce-playback", 48000, { frameSamples: FRAME, live: true });
  playback.port.tell({ type: "sound", samples: new Float32Array(5 * FRAME).fill(0.5), time: 0 });
  const block = new Float32Array(128);
  let last = 0;
  let alive = true;
  for (let i = 0; alive; i++) {
    if (i === 40) {
      assert.ok(Math.abs(last - 0.5) < 1e-6);
      playback.port.tell({ type: "stop" });
    }
    alive = playback.process([], [[block]]);
    if (alive && i > 20) {
      block.forEach((sample) => (assert.ok(Math.abs(sample - last) < 0.02, "a click"), (last = sample)));
    } else if (alive) {
      last = block[127];
    }
  }
  assert.equal(last, 0);
  const told = playback.port.posted.map((/** @type {any} */ each) => each.type);
  assert.equal(told.indexOf("stopped"), told.length - 1);
});

test("blocks that are not given back are missed, and counted, and never wait", () => {
  const capture = made("sottovoce-capture", 48000, { blockSamples: 480 });
  const input = new Float32Array(128).fill(0.1);
  for (let i = 0; i < 1000; i++) {
    capture.process([[input]]);
  }
  const blocks = capture.port.posted.filter((/** @type {any} */ each) => each.type === "captured");
  assert.equal(blocks.length, 50);
  assert.ok(capture.port.posted.at(-1).missed > 0);
  capture.port.tell({ type: "empty", buffer: blocks[0].samples.buffer });
  for (let i = 0; i < 10; i++) {
    capture.process([[input]]);
  }
  assert.equal(capture.port.posted.filter((/** @type {any} */ each) => each.type === "captured").length, 51);
});

test("nothing connected, nothing said", () => {
  const capture = made("sottovoce-capture", 48000, { blockSamples: 480 });
  assert.ok(capture.process([[]]));
  capture.port.tell({ type: "stop" });
  assert.equal(capture.process([[]]), false);
  assert.deepEqual(capture.port.posted, [{ type: "stopped" }]);
});

test("the sound's way allocates neither arrays nor numbers for its samples", () => {
  const capture = made("sottovoce-capture", 48000, { blockSamples: 480 });
  const playback = made("sottovoce-playback", 48000, { frameSamples: FRAME, live: true });
  capture.port.postMessage = playback.port.postMessage = () => {}; // the browser's own work is not ours to count
  const inputs = [[Float32Array.from({ length: 128 }, (_, i) => tone(i, 48000))]];
  const outputs = [[new Float32Array(128)]];
  const QUANTA = 500;
  const grown = () => {
    playback.port.tell({ type: "sound", samples: new Float32Array(QUANTA * 64).fill(0.1), time: 0 });
    const before = process.memoryUsage().heapUsed;
    for (let i = 0; i < QUANTA; i++) {
      capture.process(inputs);
      playback.process([], outputs);
    }
    return process.memoryUsage().heapUsed - before;
  };
  // Code that is not compiled yet allocates numbers, and a collection makes a growth negative: neither counts.
  let least = Infinity;
  for (let i = 0; i < 60 && least > 100 * QUANTA; i++) {
    const bytes = grown();
    least = bytes >= 0 ? Math.min(least, bytes) : least;
  }
  assert.ok(least <= 100 * QUANTA, `${least / QUANTA} bytes in a quantum of 128 samples`);
});
