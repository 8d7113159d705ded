import { jsonValueEnd } from './json-check.ts';
import type { InputLimits } from './limits.ts';
import type { Message } from './message.ts';
import { encodeUtf8 } from './utf8.ts';

// what begins like this and ends behind the value of `data` has no third member, and none twice
const forms = [
  { head: encodeUtf8('{"topic":"'), middle: encodeUtf8('","data":') },
  { head: encodeUtf8('{"topic": "'), middle: encodeUtf8('", "data": ') },
] as const;

const LF = 0x0a;
const quote = 0x22;
const backslash = 0x5c;

/** Topics that are known by their bytes; a power of two. */
const slots = 4096;

/**
 * Reads the plainest lines of NDJSON, `{"topic":…,"data":…}` with a topic that passed before, from their bytes: nothing
 * is decoded, copied or parsed, and the payload is a view of the line. What such a line gives is what `parseMessage`
 * would make of it.
 */
export class PlainLines {
  /** Behind the line that `read` took: its line feed, or the end of the bytes. */
  end = 0;
  /** The last line that `read` did not take may be plain, with a topic it has not learnt. */
  unknownTopic = false;
  readonly #messageMax: number;
  /** By hash; a topic takes the place of another one, so it is bounded and never wrong. */
  readonly #topics: ({ readonly topic: string; readonly bytes: Uint8Array } | undefined)[] = Array.from({
    length: slots,
  });

  constructor(limits: InputLimits) {
    this.#messageMax = limits.message;
  }

  /** `topic` passed all checks under the limits given here, and is known from now on. */
  learn(topic: string): void {
    // in JSON a backslash stands for something else than itself
    if (topic.includes('\\')) return;
    const bytes = encodeUtf8(topic);
    let hash = 0;
    for (const byte of bytes) hash = mix(hash, byte);
    this.#topics[hash & (slots - 1)] = { topic, bytes };
  }

  /**
   * The message of the line that begins at `start`; undefined for a line in any other form, good or bad. `bytes` must be
   * valid UTF-8. Hot: once a line.
   */
  read(bytes: Uint8Array, start: number): Message | undefined {
    this.unknownTopic = false;
    const form = bytes[start + 9] === 0x20 ? forms[1] : forms[0];
    if (!holds(bytes, start, form.head)) return undefined;
    const topicStart = start + form.head.length;
    let at = topicStart;
    let hash = 0;
    for (;;) {
      const byte = bytes[at]!;
      if (byte === quote) break;
      // control characters are in no topic: so this ends with the line, at the latest
      if (!(byte >= 0x20) || byte === backslash) return undefined;
      hash = mix(hash, byte);
      at++;
    }
    const known = this.#topics[hash & (slots - 1)];
    if (known === undefined || known.bytes.length !== at - topicStart || !holds(bytes, topicStart, known.bytes)) {
      this.unknownTopic = true;
      return undefined;
    }
    if (!holds(bytes, at, form.middle)) return undefined;
    const dataStart = at + form.middle.length;
    // the check skips spaces before the value, which are not part of it
    if (bytes[dataStart]! <= 0x20) return undefined;
    const dataEnd = jsonValueEnd(bytes, dataStart);
    if (dataEnd === -1 || bytes[dataEnd] !== 0x7d || dataEnd - dataStart > this.#messageMax) return undefined;
    const end = dataEnd + 1;
    if (end < bytes.length && bytes[end] !== LF) return undefined;
    this.end = end;
    return {
      topic: known.topic,
      data: bytes.subarray(dataStart, dataEnd),
      contentType: undefined,
      event: undefined,
      id: undefined,
      producer: undefined,
      sequence: undefined,
      key: undefined,
      expect: undefined,
      headers: undefined,
      by: undefined,
      end: false,
      durability: undefined,
    };
  }
}

function mix(hash: number, byte: number): number {
  return (Math.imul(hash, 31) + byte) | 0;
}

function holds(bytes: Uint8Array, at: number, what: Uint8Array): boolean {
  for (let i = 0; i < what.length; i++) if (bytes[at + i] !== what[i]) return false;
  return true;
}
