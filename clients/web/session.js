// @ts-check
/**
 * The client's side of one conversation, without a socket and without a clock: what was received goes in, events and messages
 * to send come out. stream/PROTOCOL.md, section 2, has the rules; `stream/protocol.py` is the other side.
 */
import {
  Flag,
  Kind,
  PROTOCOL,
  WireError,
  behind,
  decode,
  encode,
  fromPcm,
  pack,
  pcmBytes,
  unpack,
  unwrap,
} from "./wire.js";

/**
 * What may happen. Control messages come as they are on the wire; sound and pictures:
 * @typedef {{type: "sound", samples: Float32Array<ArrayBuffer>, time: number, last: boolean, concealed: boolean}} Sound
 * @typedef {{type: "picture", kind: number, count: number, time: number, payload: Uint8Array}} Picture
 * @typedef {Sound | Picture | ({type: string} & Record<string, any>)} Event
 */

const GENERATION_BITS = 0xffff;

export class Session {
  /** @type {(string | Uint8Array<ArrayBuffer>)[]} */
  #toSend = [];
  /** Of what we send: samples since the start. */
  #time = 0;
  #seq = 0;
  /** @type {number} */
  #flags = Flag.FIRST;
  /** Of sound that comes: where the next is expected. */
  #expected = 0;
  /** Of pictures, by kind. @type {Map<number, number>} */
  #seen = new Map();
  #played = 0;
  #underruns = 0;
  #ending = false;

  constructor() {
    /** @type {"new" | "greeted" | "starting" | "open" | "over"} */
    this.state = "new";
    /** The server's first message. @type {Record<string, any> | null} */
    this.hello = null;
    this.generation = 0;
    /** Whether the server has still to confirm a cancel. */
    this.cancelling = false;
    /** Messages with sound that were left out, so that the line could take the next. */
    this.dropped = 0;
  }

  /** Whether sound may be sent. */
  get isOpen() {
    return this.state === "open" && !this.#ending;
  }

  /** Time, in samples of the generation, at which the sound that has come ends. */
  get soundEnd() {
    return this.#expected;
  }

  /** Whether we have said our last. */
  get isEnding() {
    return this.#ending;
  }

  /** What is to be sent, in order; it is taken out. */
  drain() {
    return this.#toSend.splice(0);
  }

  /**
   * What one message means.
   * @param {string | ArrayBuffer} message
   * @returns {Event[]}
   * @throws {WireError} the server broke the rules; the session is over
   */
  receive(message) {
    if (this.state === "over") {
      return [];
    }
    return typeof message === "string" ? this.#said(decode(message)) : this.#media(message);
  }

  /**
   * Ask for a row of the engine.
   * @param {Record<string, unknown>} wishes the fields of `start`
   */
  start(wishes) {
    if (this.state !== "greeted") {
      throw new Error("a session starts once, after the server's hello");
    }
    this.state = "starting";
    this.#say("start", wishes);
  }

  /**
   * Send sound.
   * @param {Int16Array} samples
   */
  sound(samples) {
    if (!this.isOpen) {
      return;
    }
    this.#toSend.push(
      pack({
        kind: Kind.PCM,
        flags: this.#flags,
        seq: this.#seq,
        generation: this.generation,
        count: samples.length,
        time: this.#time % 2 ** 32,
        payload: pcmBytes(samples),
      }),
    );
    this.#flags = 0;
    this.#seq = (this.#seq + 1) & 0xffff;
    this.#time += samples.length;
  }

  /**
   * Leave sound out: the line is full, and what is late is of no use.
   * @param {number} count samples
   */
  leaveOut(count) {
    if (this.isOpen) {
      this.#time += count;
      this.#flags |= Flag.DISCONTINUITY;
      this.dropped += 1;
    }
  }

  /** @param {string} text a piece of it, as it is written */
  text(text) {
    if (text && this.isOpen) {
      this.#say("text", { text });
    }
  }

  /** The text is complete. */
  endText() {
    if (this.isOpen) {
      this.#say("text.end");
    }
  }

  /**
   * Tell how far we have played of the present generation.
   * @param {number} playedMs
   * @param {number} bufferedMs
   * @param {number} underruns
   */
  credit(playedMs, bufferedMs, underruns) {
    if (this.state !== "open" || this.cancelling) {
      return;
    }
    this.#played = Math.max(this.#played, playedMs, 0);
    this.#underruns = underruns;
    this.#say("credit", {
      generation: this.generation,
      played_ms: this.#played,
      buffered_ms: Math.max(bufferedMs, 0),
      underruns,
    });
  }

  /** Whatever the server has in hand is not wanted: what we send from now on is of the next generation. */
  cancel() {
    if (this.state !== "open" || this.cancelling) {
      return false;
    }
    this.#say("cancel", { generation: this.generation, played_ms: this.#played });
    this.generation = (this.generation + 1) & GENERATION_BITS;
    this.cancelling = true;
    this.#flags = Flag.FIRST;
    this.#played = this.#expected = 0;
    return true;
  }

  /** @param {Record<string, unknown>} dials the fields of `update` */
  update(dials) {
    if (this.isOpen) {
      this.#say("update", dials);
    }
  }

  /** @param {number} t comes back in the `pong` */
  ping(t) {
    if (this.state === "open") {
      this.#say("ping", { t });
    }
  }

  /** Nothing more comes: the server sends the rest, then `end`. */
  end() {
    if (this.state !== "over" && !this.#ending) {
      this.#ending = true;
      this.#say("end");
    }
  }

  // ---- what the server says ------------------------------------------------------------------------------------------

  /**
   * @param {{type: string} & Record<string, any>} message
   * @returns {Event[]}
   */
  #said(message) {
    switch (message.type) {
      case "hello":
        if (this.state !== "new" || message.protocol !== PROTOCOL || !message.codec || !Array.isArray(message.modes)) {
          throw this.#broken("the server speaks another protocol than this page");
        }
        this.state = "greeted";
        this.hello = message;
        return [message];
      case "started":
        if (this.state !== "starting") {
          throw this.#broken("the server started what nobody asked for");
        }
        this.state = "open";
        return [message];
      case "cancelled":
        if (message.generation !== this.generation) {
          throw this.#broken("the server cancelled what nobody cancelled");
        }
        this.cancelling = false;
        return [message];
      case "segment.start":
      case "segment.end":
      case "words":
        return message.generation === this.generation ? [message] : [];
      case "error":
        if (message.fatal !== false) {
          this.state = "over";
        }
        return [message];
      case "end":
        this.state = "over";
        return [message];
      case "stats":
      case "pong":
        return [message];
      default:
        return []; // of a later version
    }
  }

  /**
   * @param {ArrayBuffer} message
   * @returns {Event[]}
   */
  #media(message) {
    const media = unpack(message);
    if (this.state !== "open") {
      throw this.#broken("the server sends media before it has started");
    }
    const age = behind(media.generation, this.generation);
    if (age < 0) {
      throw this.#broken("the server sends media of a generation that has not begun");
    }
    if (age > 0) {
      return [];
    }
    if (media.kind === Kind.PCM) {
      const time = unwrap(media.time, this.#expected);
      if (this.#expected === 0 && media.count > 0) {
        // at once, so that the server knows how long the line takes
        this.credit(0, (1000 * media.count) / this.hello?.codec.rate_hz, this.#underruns);
      }
      this.#expected = time + media.count;
      const samples = fromPcm(media.payload, media.count);
      const last = (media.flags & Flag.LAST) !== 0;
      return [{ type: "sound", samples, time, last, concealed: (media.flags & Flag.CONCEALED) !== 0 }];
    }
    if (media.kind === Kind.MEL_IN || media.kind === Kind.CODES_HEARD || media.kind === Kind.MEL_OUT) {
      const time = unwrap(media.time, this.#seen.get(media.kind) ?? 0);
      this.#seen.set(media.kind, time);
      return [{ type: "picture", kind: media.kind, count: media.count, time, payload: media.payload }];
    }
    return [];
  }

  /**
   * @param {string} type
   * @param {Record<string, unknown>} [fields]
   */
  #say(type, fields) {
    this.#toSend.push(encode(type, fields));
  }

  /** @param {string} why */
  #broken(why) {
    this.state = "over";
    return new WireError(why);
  }
}
