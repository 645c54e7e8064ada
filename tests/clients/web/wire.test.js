// @ts-check
/** The same golden bytes as the server's tests: tests/golden/wire. */
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";
import {
  Flag, Kind, WireError, behind, decode, encode, fromPcm, pack, pcmBytes, toS16, unpack, unwrap,
} from "../../../clients/web/wire.js"; // prettier-ignore
import { between, seeded } from "./random.js";

const GOLDEN = new URL("../../golden/wire/", import.meta.url);
const read = (/** @type {string} */ name) => readFileSync(new URL(name, GOLDEN), "utf8");
const fromHex = (/** @type {string} */ text) => Uint8Array.from(Buffer.from(text.replaceAll(/\s/g, ""), "hex"));
const names = readdirSync(GOLDEN);
const media = names.filter((name) => name.endsWith(".hex")).map((name) => name.slice(0, -4));
const control = names.filter((name) => name.endsWith(".json")).map((name) => name.slice(0, -5));

test("there are golden bytes", () => {
  assert.ok(media.length >= 7 && control.length >= 20);
});

for (const name of media) {
  test(`${name}: the golden bytes, both ways`, () => {
    const bytes = fromHex(read(`${name}.hex`));
    const { payload, ...fields } = JSON.parse(read(`${name}.json`));
    const message = { ...fields, payload: fromHex(payload) };
    assert.deepEqual(pack(message), bytes);
    assert.deepEqual(unpack(bytes.buffer), message);
  });
}

for (const name of control.filter((each) => !media.includes(each))) {
  test(`${name}: the golden message, both ways`, () => {
    const { type, ...fields } = decode(read(`${name}.json`));
    assert.deepEqual(JSON.parse(encode(type, fields)), JSON.parse(read(`${name}.json`)));
    assert.ok(encode(type, fields).startsWith(`{"type":"${type}"`));
  });
}

test("the golden samples are heard", () => {
  const { payload, count } = unpack(fromHex(read("media_pcm.hex")).buffer);
  assert.deepEqual([...fromPcm(payload, count)], [-1, 32767 / 32768, 1 / 32768]);
  assert.deepEqual(pcmBytes(Int16Array.of(-32768, 32767, 1)), payload);
});

test("every kind and flag is what the golden bytes use", () => {
  const used = media.map((name) => unpack(fromHex(read(`${name}.hex`)).buffer));
  assert.deepEqual(new Set(used.map(({ kind }) => kind)), new Set(Object.values(Kind)));
  const flags = used.reduce((all, each) => all | each.flags, 0);
  assert.equal(flags, Flag.FIRST | Flag.LAST | Flag.CONCEALED | Flag.DISCONTINUITY);
});

test("media of any numbers come back", () => {
  const random = seeded(1);
  for (let i = 0; i < 500; i++) {
    const message = {
      kind: between(random, 0, 255),
      flags: between(random, 0, 15),
      seq: between(random, 0, 0xffff),
      generation: between(random, 0, 0xffff),
      count: between(random, 0, 0xffff),
      time: between(random, 0, 2 ** 32 - 1),
      payload: Uint8Array.from({ length: between(random, 0, 30) }, () => between(random, 0, 255)),
    };
    assert.deepEqual(unpack(pack(message).buffer), message);
  }
});

test("what is malformed is one kind of error", () => {
  for (const size of [0, 11, (1 << 18) + 1]) {
    assert.throws(() => unpack(new ArrayBuffer(size)), WireError);
  }
  for (const text of ["", "{", "null", "[]", "3", '"hello"', "{}", '{"type":3}']) {
    assert.throws(() => decode(text), WireError, text);
  }
  assert.throws(() => fromPcm(new Uint8Array(5), 3), WireError);
});

test("samples are rounded and clipped as on the server", () => {
  const cases = [[0, 0], [1, 32767], [-1, -32768], [2, 32767], [-2, -32768], [0.5 / 32768, 0], [1.5 / 32768, 2]]; // prettier-ignore
  cases.push([-0.5 / 32768, 0], [-1.5 / 32768, -2], [2.5 / 32768, 2], [NaN, 0], [Infinity, 32767], [-Infinity, -32768]);
  for (const [sample, expected] of cases) {
    assert.equal(toS16(sample) + 0, expected, String(sample));
  }
});

test("numbers are compared the short way round", () => {
  assert.deepEqual([behind(5, 7), behind(7, 5), behind(65535, 1), behind(1, 65535)], [2, -2, 2, -2]);
  const random = seeded(3);
  for (let i = 0; i < 500; i++) {
    const real = between(random, 0, 2 ** 40);
    const expected = real + between(random, -(2 ** 30), 2 ** 30);
    assert.equal(unwrap(real % 2 ** 32, expected), real);
  }
});
