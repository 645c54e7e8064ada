// @ts-check
/** How a text of any length is given to a server that lets only so much of it wait. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { MOST_CHARS, Supply, tooLong } from "../../../clients/web/supply.js";
import { Typed } from "../../../clients/web/typed.js";
import { between, seeded } from "./random.js";

/** A server with so much room: what waits there, and what was said. */
class Server {
  waiting = "";
  spoken = "";

  /** @param {number} room */
  constructor(room) {
    this.room = room;
  }

  /** @param {string} piece */
  take(piece) {
    this.waiting += piece;
    assert.ok([...this.waiting].length <= this.room, `${this.waiting.length} characters wait`);
    assert.ok(!/^[\udc00-\udfff]/.test(piece), "a character is cut in two");
  }

  /** @param {number} length what is spoken in one breath @returns {string} of it, what can be said */
  speak(length) {
    const passage = this.waiting.slice(0, length);
    this.waiting = this.waiting.slice(length);
    this.spoken += passage;
    return passage.trim();
  }
}

test("a text of any length comes whole and in order, and never more of it than the server has room for", () => {
  for (let seed = 0; seed < 40; seed++) {
    const random = seeded(seed);
    const signs = ["a", "b", " ", "\n", "é", "🙂", "ha ha "];
    const length = between(random, 1, 12_000);
    const text = Array.from({ length }, () => signs[between(random, 0, signs.length - 1)]).join("");
    const room = [20, 100, 4000][between(random, 0, 2)];
    const supply = new Supply(room);
    const server = new Server(room);
    const give = () => supply.take().forEach((piece) => server.take(piece));
    const half = between(random, 0, text.length);
    supply.write(text.slice(0, half));
    give();
    supply.write(text.slice(half));
    supply.end();
    while (server.spoken.length < text.length) {
      give();
      assert.ok(server.waiting, "the rest never comes");
      supply.begun(server.speak(between(random, 1, 60)));
    }
    assert.equal(server.spoken, text);
    assert.ok(!supply.waits && supply.isComplete);
  }
});

test("a short text goes at once and in one piece, and of what was dropped nothing comes", () => {
  const supply = new Supply(4000);
  supply.write("Good morning.");
  assert.deepEqual(supply.take(), ["Good morning."]);
  assert.deepEqual([supply.take(), supply.waits, supply.isComplete], [[], false, false]);
  supply.write("x".repeat(50_000));
  assert.ok(supply.take().length > 1 && supply.waits);
  supply.drop();
  assert.ok(!supply.waits);
  supply.write("New.");
  assert.deepEqual(supply.take(), ["New."]);
});

test("what cannot be said is passed over, a piece at a time", () => {
  const supply = new Supply(4000);
  const text = "-".repeat(10_000);
  supply.write(text);
  let given = supply.take().join("");
  assert.ok(given.length <= 4000);
  while (supply.waits) {
    supply.passOver();
    const pieces = supply.take();
    assert.equal(pieces.length, 1);
    given += pieces[0];
  }
  assert.equal(given, text);
});

test("a text that is too long is told by how much; characters are counted as the server does", () => {
  assert.equal(tooLong("a".repeat(MOST_CHARS)), "");
  assert.equal(tooLong("🙂".repeat(MOST_CHARS)), "");
  assert.match(tooLong("a".repeat(120_000)), /120,000 characters.*100,000.*20,000/);
});

test("a long text without a space is looked through in no time", () => {
  const begun = performance.now();
  assert.equal(new Typed().take("a".repeat(MOST_CHARS), false), "");
  assert.ok(performance.now() - begun < 1000);
});
