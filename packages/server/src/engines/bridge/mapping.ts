import { createHash } from 'node:crypto';

/** A level that would be longer stands as a hash. */
const levelMost = 256;

const harmless = /^[A-Za-z0-9_~-][A-Za-z0-9._~-]*$/;
/** What no level can have, and what stands for it. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it looks for
const unfit = /[\u0000-\u001f\u007f-\u009f/%]/g;
const wholeUnfit: ReadonlySet<string> = new Set(['.', '..', '+', '#']);
const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** `orders/{key}`: which topic a record has, by its key and its partition. */
export class Mapping {
  readonly #levels: readonly string[];

  constructor(to: string) {
    this.#levels = to.split('/');
  }

  /** Keys are part of it. */
  get isKeyed(): boolean {
    return this.#levels.includes('{key}');
  }

  /** The level of a key is left out for a record that has none. */
  topicOf(key: Uint8Array | null, partition: number): string {
    let topic = '';
    for (const level of this.#levels) {
      if (level === '{key}' && (key === null || key.length === 0)) continue;
      const written = level === '{key}' ? levelOf(key!) : level === '{partition}' ? String(partition) : level;
      topic += topic === '' ? written : `/${written}`;
    }
    return topic;
  }

  /** The topics that a partition can have, and what lies below them where nothing else follows a key. */
  filtersOf(partition: number): readonly string[] {
    const levels = this.#levels.map(level => (level === '{partition}' ? String(partition) : level));
    const at = levels.indexOf('{key}');
    if (at === -1) return [levels.join('/')];
    if (at === levels.length - 1) return [[...levels.slice(0, -1), '#'].join('/')];
    return [levels.with(at, '+').join('/'), levels.toSpliced(at, 1).join('/')];
  }
}

/** A key as a level of a topic: as it is where that can be, otherwise with `%` and hex digits as in URLs. Different for every key. */
export function levelOf(key: Uint8Array): string {
  const bytes = Buffer.from(key.buffer, key.byteOffset, key.length);
  const level = written(bytes);
  if (level.length <= levelMost && Buffer.byteLength(level) <= levelMost) return level;
  return `sha256-${createHash('sha256').update(bytes).digest('hex')}`;
}

function written(bytes: Buffer): string {
  const text = textOf(bytes);
  if (text === undefined) return escaped(bytes.toString('latin1'), /[^A-Za-z0-9._~-]/g, 'latin1');
  if (harmless.test(text)) return text;
  return wholeUnfit.has(text) ? escaped(text, /./g, 'utf8') : escaped(text, unfit, 'utf8');
}

/** Undefined for what is no UTF-8. */
export function textOf(bytes: Uint8Array): string | undefined {
  try {
    return strictUtf8.decode(bytes);
  } catch {
    return undefined;
  }
}

function escaped(text: string, characters: RegExp, encoding: 'latin1' | 'utf8'): string {
  return text.replace(characters, character =>
    [...Buffer.from(character, encoding)].map(byte => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`).join(''),
  );
}
