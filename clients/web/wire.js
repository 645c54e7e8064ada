// @ts-check
/**
 * The messages of the WebSocket as bytes and text: sub-protocol `sottovoce.v1`, stream/PROTOCOL.md, section 2.
 * Tested against the same golden bytes as the server's side.
 */

export const PROTOCOL = "sottovoce.v1";
export const PATH = "/v1/stream";

/** What a payload holds. Whoever meets another number ignores the message. */
export const Kind = Object.freeze({ PCM: 1, CODES: 2, MEL_IN: 3, CODES_HEARD: 4, MEL_OUT: 5 });

/** Said of a payload. Other bits are ignored. */
export const Flag = Object.freeze({ FIRST: 1, LAST: 2, CONCEALED: 4, DISCONTINUITY: 8 });

const HEADER_BYTES = 12;
const MOST_BYTES = 1 << 18;

/** The peer broke the rules. */
export class WireError extends Error {}

/**
 * One binary message.
 * @typedef {object} Media
 * @property {number} kind
 * @property {number} flags
 * @property {number} seq 16 bits
 * @property {number} generation 16 bits
 * @property {number} count in units of its kind
 * @property {number} time 32 bits, of the first sample
 * @property {Uint8Array} payload
 */

/**
 * @param {Media} media
 * @returns {Uint8Array<ArrayBuffer>}
 */
export function pack(media) {
  const bytes = new Uint8Array(HEADER_BYTES + media.payload.length);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, media.kind);
  view.setUint8(1, media.flags);
  view.setUint16(2, media.seq, true);
  view.setUint16(4, media.generation, true);
  view.setUint16(6, media.count, true);
  view.setUint32(8, media.time, true);
  bytes.set(media.payload, HEADER_BYTES);
  return bytes;
}

/**
 * @param {ArrayBuffer} message
 * @returns {Media}
 * @throws {WireError} it is too short for a header, or longer than any may be
 */
export function unpack(message) {
  if (message.byteLength < HEADER_BYTES || message.byteLength > MOST_BYTES) {
    throw new WireError(`a media message has ${HEADER_BYTES} to ${MOST_BYTES} bytes, not ${message.byteLength}`);
  }
  const view = new DataView(message);
  return {
    kind: view.getUint8(0),
    flags: view.getUint8(1) & 15,
    seq: view.getUint16(2, true),
    generation: view.getUint16(4, true),
    count: view.getUint16(6, true),
    time: view.getUint32(8, true),
    payload: new Uint8Array(message, HEADER_BYTES),
  };
}

/**
 * A control message as text: the type, then the fields that are not undefined.
 * @param {string} type
 * @param {Record<string, unknown>} [fields]
 */
export function encode(type, fields = {}) {
  return JSON.stringify({ type, ...fields });
}

/**
 * A control message.
 * @param {string} text
 * @returns {{type: string} & Record<string, any>}
 * @throws {WireError} it is none
 */
export function decode(text) {
  let message;
  try {
    message = JSON.parse(text);
  } catch {
    throw new WireError("a control message is not JSON");
  }
  if (typeof message !== "object" || message === null || typeof message.type !== "string") {
    throw new WireError("a control message must have a type");
  }
  return message;
}

/**
 * How far a 16-bit number is behind `current`, the short way round the circle; negative if it is ahead.
 * @param {number} number
 * @param {number} current
 */
export function behind(number, current) {
  return ((current - number + 0x8000) & 0xffff) - 0x8000;
}

/**
 * The time that 32 bits of it mean: the one nearest to `expected`.
 * @param {number} time 32 bits
 * @param {number} expected of any size
 */
export function unwrap(time, expected) {
  const ahead = (time - expected) % 2 ** 32;
  return expected + (ahead > 2 ** 31 ? ahead - 2 ** 32 : ahead < -(2 ** 31) ? ahead + 2 ** 32 : ahead);
}

/**
 * Samples of s16le in [-1, 1).
 * @param {Uint8Array} payload
 * @param {number} count
 * @returns {Float32Array<ArrayBuffer>}
 * @throws {WireError} there are more or fewer than `count`
 */
export function fromPcm(payload, count) {
  if (payload.length !== 2 * count) {
    throw new WireError(`${count} samples have ${2 * count} bytes, not ${payload.length}`);
  }
  const view = new DataView(payload.buffer, payload.byteOffset, payload.length);
  const samples = new Float32Array(count);
  for (let i = 0; i < count; i++) {
    samples[i] = view.getInt16(2 * i, true) / 32768;
  }
  return samples;
}

/**
 * One sample as s16, clipped; half-way cases to even, as the server rounds.
 * @param {number} sample
 */
export function toS16(sample) {
  const scaled = sample * 32768;
  if (scaled >= 32767) {
    return 32767;
  }
  if (!(scaled > -32768)) {
    return scaled <= -32768 ? -32768 : 0; // what is no number is silence
  }
  const floor = Math.floor(scaled);
  const rest = scaled - floor;
  return rest > 0.5 || (rest === 0.5 && floor % 2 !== 0) ? floor + 1 : floor;
}

/**
 * The little-endian bytes of s16 samples.
 * @param {Int16Array} samples
 */
export function pcmBytes(samples) {
  const bytes = new Uint8Array(2 * samples.length);
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < samples.length; i++) {
    view.setInt16(2 * i, samples[i], true);
  }
  return bytes;
}
