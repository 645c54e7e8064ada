// @ts-check
/** The small parts: what is said, kept, coloured and lit. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Level, dbfs } from "../../../clients/web/level.js";
import { whyRefused } from "../../../clients/web/microphone.js";
import { Columns, codeColour, melColour, ramp } from "../../../clients/web/pictures.js";
import { bitrate, told } from "../../../clients/web/readout.js";
import { Backoff, address, isToken, offers } from "../../../clients/web/socket.js";
import { Heard, MOST_S } from "../../../clients/web/wav.js";
import { Typed } from "../../../clients/web/typed.js";
import { heardAt, lastWords } from "../../../clients/web/words.js";
import { between, seeded } from "./random.js";

test("attempts come later and later, never all at once, and begin anew when one worked", () => {
  for (const random of [0, 0.5, 1]) {
    const backoff = new Backoff(() => random);
    const pauses = Array.from({ length: 10 }, () => backoff.next());
    pauses.forEach((pause, i) => assert.ok(pause >= (pauses[i - 1] ?? 0) && pause >= 375 && pause <= 10_000));
    assert.equal(pauses[1], 2 * pauses[0]);
    assert.equal(backoff.next(30_000), 30_000); // as the server said
    backoff.reset();
    assert.equal(backoff.next(), pauses[0]);
  }
});

test("the token travels as a sub-protocol, and only where it can", () => {
  assert.deepEqual(offers(null), ["sottovoce.v1"]);
  assert.deepEqual(offers("s3cret-token"), ["sottovoce.v1", "bearer.s3cret-token"]);
  assert.ok(isToken("s3cret-token") && isToken("~".repeat(200)));
  for (const token of ["short", "with space in it", "ünïcödé-token", "x".repeat(201), "comma,comma"]) {
    assert.ok(!isToken(token), token);
  }
  assert.equal(address({ protocol: "https:", host: "example.org" }), "wss://example.org/v1/stream");
  assert.equal(address({ protocol: "http:", host: "[::1]:8765" }), "ws://[::1]:8765/v1/stream");
});

test("every reason why there is no microphone has words of its own", () => {
  const names = ["insecure", "silent", "missing", "NotAllowedError", "NotFoundError", "NotReadableError", "OddError"];
  const lines = names.map((name) => whyRefused(name, "example.org:8765"));
  assert.equal(new Set(lines).size, names.length);
  lines.slice(0, 2).forEach((line) => assert.match(line, /example\.org:8765.*https.*localhost/));
  assert.match(lines[6], /OddError/);
});

test("what was heard becomes a wav file, the newest minutes of it", () => {
  const heard = new Heard(8000);
  heard.add(Int16Array.of(1, -2));
  heard.add(Int16Array.of(32767));
  const bytes = Buffer.from(heard.wav());
  assert.equal(bytes.toString("latin1", 0, 4) + bytes.toString("latin1", 8, 16), "RIFFWAVEfmt ");
  assert.equal(bytes.readUInt32LE(4), bytes.length - 8);
  assert.deepEqual([bytes.readUInt32LE(24), bytes.readUInt16LE(22), bytes.readUInt16LE(34)], [8000, 1, 16]);
  assert.deepEqual([44, 46, 48].map((at) => bytes.readInt16LE(at)), [1, -2, 32767]); // prettier-ignore
  for (let i = 0; i < MOST_S + 50; i++) {
    heard.add(new Int16Array(8000).fill(i));
  }
  assert.equal(heard.seconds, MOST_S);
  assert.equal(Buffer.from(heard.wav()).readInt16LE(44), 50);
});

test("a picture keeps its newest columns, leaves gaps empty, and has no place for what is late", () => {
  const columns = new Columns(2, 4);
  const at = (/** @type {number} */ column) => [columns.colours[column % 4], columns.colours[4 + (column % 4)]];
  const put = (/** @type {number} */ column) => columns.put(column, (row) => 10 * column + row);
  assert.ok(put(0) && put(1) && put(4));
  assert.deepEqual([1, 2, 3, 4].map(at), [[10, 11], [0, 0], [0, 0], [40, 41]]); // prettier-ignore
  assert.ok(!put(3) && !put(4));
  assert.ok(put(1000));
  assert.deepEqual([997, 998, 999].map(at), [[0, 0], [0, 0], [0, 0]]); // prettier-ignore
  columns.clear();
  assert.ok(put(0));
});

test("louder is further up the ramp; codes lie on it, apart from silence and from each other", () => {
  const bytes = Array.from({ length: 256 }, (_, i) => melColour(i));
  bytes.forEach((colour, i) => assert.ok(colour >= (bytes[i - 1] ?? 0) && colour <= 255));
  assert.deepEqual([bytes[0], bytes[255]], [0, 255]);
  const codes = Array.from({ length: 1024 }, (_, code) => codeColour(code));
  assert.ok(codes.every((colour) => colour > 50 && colour <= 255));
  assert.ok(codes.every((colour, i) => i === 0 || Math.abs(colour - codes[i - 1]) > 30));
  assert.equal(codeColour(-1), 0);
  assert.equal(new Set([...ramp("dark"), ...ramp("light")]).size > 300, true);
});

test("words light up in time", () => {
  const words = [
    { text: "one", start_ms: 100, end_ms: 200 },
    { text: "two", start_ms: 250, end_ms: 400 },
  ];
  assert.deepEqual([0, 100, 199, 220, 250, 400].map((ms) => heardAt(words, ms)), [
    { spoken: 0, now: -1 }, { spoken: 1, now: 0 }, { spoken: 1, now: 0 }, { spoken: 1, now: -1 }, { spoken: 2, now: 1 },
    { spoken: 2, now: -1 },
  ]); // prettier-ignore
  assert.deepEqual(heardAt([], 5), { spoken: 0, now: -1 });
});

test("of a long text that was interrupted the last words are told", () => {
  assert.equal(lastWords("One two."), "One two.");
  const last = "… 3988 3989 3990 3991 3992 3993 3994 3995 3996 3997 3998 3999";
  assert.equal(lastWords(Array.from({ length: 4000 }, (_, i) => i).join(" ")), last);
});

test("what is written is given once, in whole words, and all of it in the end", () => {
  for (let seed = 0; seed < 50; seed++) {
    const random = seeded(seed);
    const all = Array.from({ length: 60 }, () => "abc \n"[between(random, 0, 4)]).join("");
    const typed = new Typed();
    let given = "";
    for (let at = 0; at < all.length; at += between(random, 1, 9)) {
      const piece = typed.take(all.slice(0, at), false);
      assert.match(piece, /^$|\s$/);
      given += piece;
    }
    given += typed.take(all, true);
    assert.equal(given, all);
    assert.equal(typed.take(all, true), "");
  }
});

test("what was given is neither said again nor unsaid when it is changed", () => {
  const typed = new Typed();
  assert.equal(typed.take("Hello wold how", false), "Hello wold ");
  assert.equal(typed.take("Hello world how", false), "");
  assert.equal(typed.take("Hello world how are you", false), "how are ");
  assert.equal(typed.take("Hello", false), "");
  assert.equal(typed.take("Hello again", true), " again");
});

test("of each mode is told what means something there", () => {
  const codec = { book_size: 1024, frame_ms: 40 };
  const stats = {
    books: 4,
    wire_bps: 1400.4,
    packets: { sent: 9, lost: 2, repaired: 1, concealed: 1 },
    dropped: { "said.oldest": 3, "codes.stale": 50 },
  };
  const report = /** @type {any} */ ({ bufferedMs: 120.4, reserveMs: 10, skippedMs: 0, underruns: 1 });
  const common = { Buffer: "120 ms", Reserve: "10 ms", "Ran dry": "1×", Heard: "7 s" };
  const wire = { Skipped: "0 ms", "Packets lost": "2 of 9", "Repaired, concealed": "1, 1", "Dropped late": "3" };
  const loopback = told("loopback", codec, stats, report, 7);
  assert.equal(loopback.wire, "1400 bit/s with headers");
  assert.deepEqual(Object.fromEntries(loopback.numbers), { ...common, ...wire });
  const speak = told("speak", codec, { ...stats, wire_bps: 0, packets: {} }, report, 7);
  assert.equal(speak.wire, "1000 bit/s"); // no packets: what the codes take
  assert.deepEqual(Object.fromEntries(speak.numbers), common);
  assert.equal(told("speak", null, null, null, 0).wire, "");
});

test("levels and rates are what they say", () => {
  const level = new Level();
  level.hear(Float32Array.of(0.5, -0.5, 9), 2);
  assert.deepEqual([level.rms, level.peak], [0.5, 0.5]);
  assert.ok(Math.abs(dbfs(level.rms) + 6.02) < 0.01);
  assert.equal(dbfs(0), -100);
  level.restart();
  assert.deepEqual([level.rms, level.peak], [0, 0]);
  assert.equal(bitrate({ book_size: 1024, frame_ms: 40 }, 4), 1000);
  assert.equal(bitrate({ book_size: 128, frame_ms: 16 }, 2), 875);
});
