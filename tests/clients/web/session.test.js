// @ts-check
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { Session } from "../../../clients/web/session.js";
import { Flag, Kind, WireError, encode, pack, unpack } from "../../../clients/web/wire.js";
import { between, seeded } from "./random.js";

const HELLO = readFileSync(new URL("../../golden/wire/hello.json", import.meta.url), "utf8");

/** @param {Partial<import("../../../clients/web/wire.js").Media>} fields */
function media(fields) {
  const whole = { kind: Kind.PCM, flags: 0, seq: 0, generation: 0, count: 0, time: 0, payload: new Uint8Array(0), ...fields };
  return pack(whole).buffer;
}

/** @param {number} time @param {number} count @param {number} [generation] */
const pcm = (time, count, generation = 0) => media({ time, count, generation, payload: new Uint8Array(2 * count) });

function opened() {
  const session = new Session();
  session.receive(HELLO);
  session.start({ mode: "loopback" });
  session.receive(encode("started", { generation: 0, delay_ms: 44.5, lead_ms: 300 }));
  session.drain();
  return session;
}

/** @param {Session} session @returns {any[]} */
const said = (session) =>
  session.drain().map((each) => (typeof each === "string" ? JSON.parse(each) : unpack(each.buffer)));

test("a session begins with hello, start and started", () => {
  const session = new Session();
  assert.throws(() => session.start({}), Error);
  assert.equal(session.receive(HELLO)[0].type, "hello");
  session.start({ mode: "loopback", live: true });
  assert.deepEqual(said(session), [{ type: "start", mode: "loopback", live: true }]);
  assert.ok(!session.isOpen);
  session.sound(new Int16Array(3));
  assert.deepEqual(said(session), []);
  session.receive(encode("started", { generation: 0, delay_ms: 44.5, lead_ms: 300 }));
  assert.ok(session.isOpen);
});

test("sound is numbered and timed from the start of the session, and a cancel changes its generation alone", () => {
  const session = opened();
  session.sound(Int16Array.of(1, -2, 3));
  session.sound(new Int16Array(2));
  session.leaveOut(5);
  session.sound(new Int16Array(1));
  session.cancel();
  session.sound(new Int16Array(4));
  const [a, b, c, cancel, d] = said(session);
  const { FIRST, DISCONTINUITY } = Flag;
  assert.deepEqual([...a.payload], [1, 0, 254, 255, 3, 0]);
  assert.deepEqual([a.seq, b.seq, c.seq, d.seq], [0, 1, 2, 3]);
  assert.deepEqual([a.time, b.time, c.time, d.time], [0, 3, 10, 11]);
  assert.deepEqual([a.flags, b.flags, c.flags, d.flags], [FIRST, 0, DISCONTINUITY, FIRST]);
  assert.deepEqual([a.generation, d.generation], [0, 1]);
  assert.deepEqual(cancel, { type: "cancel", generation: 0, played_ms: 0 });
  assert.equal(session.dropped, 1);
});

test("numbers and times wrap", () => {
  const session = opened();
  for (let i = 0; i < 65537; i++) {
    session.sound(new Int16Array(0));
  }
  assert.equal(said(session).at(-1).seq, 0);
  assert.equal(/** @type {any} */ (session.receive(pcm(0, 10))[0]).time, 0);
  for (let time = 10; time < 2 ** 33; time += 2 ** 30) {
    const [event] = session.receive(pcm(time % 2 ** 32, 5));
    assert.equal(/** @type {any} */ (event).time, time);
  }
});

test("credit never goes back, names its generation, and waits for a cancel to be confirmed", () => {
  const session = opened();
  session.credit(100, 40, 1);
  session.credit(80, -3, 1);
  session.cancel();
  session.credit(120, 40, 1);
  session.receive(encode("cancelled", { generation: 1, generated_ms: 0, sent_ms: 0, played_ms: 0 }));
  session.credit(20, 40, 1);
  const [a, b, cancel, c] = said(session);
  assert.deepEqual(a, { type: "credit", generation: 0, played_ms: 100, buffered_ms: 40, underruns: 1 });
  assert.deepEqual([b.played_ms, b.buffered_ms], [100, 0]);
  assert.equal(cancel.played_ms, 100);
  assert.deepEqual([c.generation, c.played_ms], [1, 20]);
});

test("that the first sound of a generation came is told at once, and only of the first", () => {
  const session = opened();
  const rate = JSON.parse(HELLO).codec.rate_hz;
  session.receive(pcm(0, 0));
  assert.deepEqual(said(session), []);
  session.receive(pcm(0, rate / 10));
  session.receive(pcm(rate / 10, rate / 10));
  assert.deepEqual(said(session), [{ type: "credit", generation: 0, played_ms: 0, buffered_ms: 100, underruns: 0 }]);
  session.credit(60, 40, 2);
  session.cancel();
  session.receive(encode("cancelled", { generation: 1, generated_ms: 0, sent_ms: 0, played_ms: 0 }));
  session.drain();
  session.receive(pcm(0, rate / 20, 1));
  assert.deepEqual(said(session), [{ type: "credit", generation: 1, played_ms: 0, buffered_ms: 50, underruns: 2 }]);
});

test("after a cancel nothing of an older generation is told, whatever the order of what was on its way", () => {
  for (let seed = 0; seed < 30; seed++) {
    const random = seeded(seed);
    const session = opened();
    let server = 0; // the server's generation
    for (let step = 0; step < 300; step++) {
      if (random() < 0.05) {
        session.cancel();
      } else if (session.cancelling && random() < 0.3) {
        server = (server + 1) & 0xffff;
        const [event] = session.receive(encode("cancelled", { generation: server }));
        assert.equal(event.type, "cancelled");
      } else {
        const kind = between(random, 1, 6);
        const events = session.receive(kind === 1 ? pcm(0, 2, server) : media({ kind, generation: server }));
        const words = session.receive(encode("words", { generation: server, segment: 0, words: [] }));
        assert.equal(events.length, !session.cancelling && kind !== 2 && kind !== 6 ? 1 : 0);
        assert.equal(words.length, session.cancelling ? 0 : 1);
      }
    }
  }
});

test("generations wrap", () => {
  const session = opened();
  for (let i = 1; i <= 65537; i++) {
    session.cancel();
    session.receive(encode("cancelled", { generation: i & 0xffff }));
  }
  assert.equal(session.generation, 1);
  assert.equal(session.receive(pcm(0, 1, 1)).length, 1);
});

test("the end: nothing more is said but credit and cancel, and the rest is heard", () => {
  const session = opened();
  session.end();
  session.end();
  session.sound(new Int16Array(4));
  session.text("too late");
  session.update({ books: 3 });
  session.credit(1, 2, 3);
  assert.deepEqual(said(session).map((each) => each.type), ["end", "credit"]); // prettier-ignore
  const [rest] = session.receive(media({ flags: Flag.LAST, time: 7 }));
  assert.deepEqual([rest.type, /** @type {any} */ (rest).last, /** @type {any} */ (rest).time], ["sound", true, 7]);
  assert.equal(session.receive('{"type":"end"}')[0].type, "end");
  assert.equal(session.state, "over");
  assert.deepEqual(session.receive(pcm(0, 1)), []);
});

test("what a later version says is ignored", () => {
  const session = opened();
  assert.deepEqual(session.receive('{"type":"dance","x":[1]}'), []);
  assert.deepEqual(session.receive(media({ kind: 99, count: 7, payload: new Uint8Array(3) })), []);
  assert.equal(session.receive('{"type":"pong","t":1,"colour":2}').length, 1);
});

test("a server that breaks the rules is told apart from one that does not", () => {
  /** @type {[string, (session: Session) => void][]} */
  const broken = [
    ["another hello", (session) => session.receive(HELLO)],
    ["started twice", (session) => session.receive(encode("started"))],
    ["a cancel of its own", (session) => session.receive(encode("cancelled", { generation: 1 }))],
    ["the future", (session) => session.receive(pcm(0, 1, 1))],
    ["half a sample", (session) => session.receive(media({ count: 2, payload: new Uint8Array(3) }))],
    ["half a header", (session) => session.receive(new ArrayBuffer(5))],
    ["no JSON", (session) => session.receive("hello?")],
  ];
  for (const [name, breakIt] of broken) {
    assert.throws(() => breakIt(opened()), WireError, name);
  }
  assert.throws(() => new Session().receive(pcm(0, 1)), WireError);
  assert.throws(() => new Session().receive('{"type":"hello","protocol":"sottovoce.v2"}'), WireError);
});

test("a fatal error ends the session, another does not", () => {
  const session = opened();
  session.receive(encode("error", { code: "unsupported", message: "no", fatal: false }));
  assert.ok(session.isOpen);
  session.receive(encode("error", { code: "idle", message: "gone", fatal: true }));
  assert.equal(session.state, "over");
  session.credit(1, 1, 0);
  session.ping(1);
  session.end();
  assert.ok(!session.cancel());
  assert.deepEqual(said(session), []);
});
