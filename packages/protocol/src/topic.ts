import { TailraceError } from './errors.ts';
import { defaultInputLimits, type InputLimits } from './limits.ts';
import { utf8Length } from './utf8.ts';

type TopicLimits = Pick<InputLimits, 'topicBytes' | 'topicLevels'>;

// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it looks for
const control = /[\u0000-\u001f\u007f-\u009f]/;

/** Throws `topic_invalid` unless `topic` is one that can hold messages (§2). */
export function checkTopic(topic: string, limits: TopicLimits = defaultInputLimits): void {
  checkLevels(topic, 'topic', limits);
  if (topic.includes('+') || topic.includes('#')) {
    for (const level of topic.split('/')) {
      if (level === '+' || level === '#') {
        throw new TailraceError(
          'topic_invalid',
          `topic ${quote(topic)}: "${level}" is a wildcard; a topic names one exact place`,
        );
      }
    }
  }
}

/** Throws `filter_invalid` unless `filter` is a topic in which a level may be `+` and the last may be `#` (§2). */
export function checkFilter(filter: string, limits: TopicLimits = defaultInputLimits): void {
  if (filter.endsWith('/')) {
    throw new TailraceError(
      'filter_invalid',
      `filter ${quote(filter)} ends with "/": did "#" get lost? In a URL write %23`,
    );
  }
  checkLevels(filter, 'filter', limits);
  const levels = filter.split('/');
  for (let i = 0; i < levels.length; i++) {
    if (levels[i] === '#' && i !== levels.length - 1) {
      throw new TailraceError(
        'filter_invalid',
        `filter ${quote(filter)}: "#" stands for all the rest, so it can only be the last level`,
      );
    }
  }
}

function checkLevels(text: string, kind: 'topic' | 'filter', limits: TopicLimits): void {
  const code = `${kind}_invalid` as const;
  if (text === '') throw new TailraceError(code, `the ${kind} is empty`);
  // length counts UTF-16 units, never more than the UTF-8 bytes: the cheap test comes first
  if (text.length > limits.topicBytes || utf8Length(text) > limits.topicBytes) {
    throw new TailraceError(
      code,
      `the ${kind} is longer than ${limits.topicBytes} bytes: ${quote(text.slice(0, 64))}…`,
    );
  }
  if (!text.isWellFormed()) throw new TailraceError(code, `the ${kind} is not valid Unicode (a lone surrogate)`);
  const bad = control.exec(text);
  if (bad !== null) {
    const point = text.charCodeAt(bad.index).toString(16).padStart(4, '0');
    throw new TailraceError(code, `the ${kind} has the control character U+${point} at character ${bad.index}`);
  }
  let levels = 1;
  let start = 0;
  for (let i = 0; i <= text.length; i++) {
    if (i < text.length && text.charCodeAt(i) !== 0x2f) continue;
    if (i === start)
      throw new TailraceError(code, `${kind} ${quote(text)} has an empty level (a leading, trailing or double "/")`);
    if (
      text.charCodeAt(start) === 0x2e &&
      (i - start === 1 || (i - start === 2 && text.charCodeAt(start + 1) === 0x2e))
    ) {
      throw new TailraceError(
        code,
        `${kind} ${quote(text)} has a level "${text.slice(start, i)}", which paths would swallow`,
      );
    }
    start = i + 1;
    if (i < text.length) levels++;
  }
  if (levels > limits.topicLevels)
    throw new TailraceError(code, `the ${kind} has ${levels} levels; at most ${limits.topicLevels} are allowed`);
}

/** Throws `publish_forbidden` for a topic that only the server publishes to. */
export function checkNotReserved(topic: string): void {
  if (isReserved(topic)) {
    throw new TailraceError(
      'publish_forbidden',
      `topic ${JSON.stringify(topic)}: first levels that begin with "$" belong to the server`,
      { at: { field: 'topic' } },
    );
  }
}

/** Whether the first level begins with `$`: such topics are the server's own (§2). */
export function isReserved(topic: string): boolean {
  return topic.charCodeAt(0) === 0x24;
}

export function isWildcard(filter: string): boolean {
  return (
    filter === '+' ||
    filter === '#' ||
    filter.endsWith('/#') ||
    filter.startsWith('+/') ||
    filter.endsWith('/+') ||
    filter.includes('/+/')
  );
}

/**
 * Whether a valid filter matches a valid topic. `a/#` matches `a` too; a wildcard at the first level does not match
 * reserved topics. Walks both strings once and allocates nothing: it runs for each topic of each pass.
 */
export function matchFilter(filter: string, topic: string): boolean {
  const first = filter.charCodeAt(0);
  if (
    topic.charCodeAt(0) === 0x24 &&
    (first === 0x2b || first === 0x23) &&
    (filter.length === 1 || filter.charCodeAt(1) === 0x2f)
  )
    return false;
  let f = 0;
  let t = 0;
  const fEnd = filter.length;
  const tEnd = topic.length;
  for (;;) {
    const c = filter.charCodeAt(f);
    if (c === 0x23 && f === fEnd - 1) return true; // '#', last level
    if (c === 0x2b && (f + 1 === fEnd || filter.charCodeAt(f + 1) === 0x2f)) {
      f++;
      while (t < tEnd && topic.charCodeAt(t) !== 0x2f) t++;
    } else {
      while (f < fEnd && t < tEnd && filter.charCodeAt(f) === topic.charCodeAt(t) && filter.charCodeAt(f) !== 0x2f) {
        f++;
        t++;
      }
      if (f < fEnd && filter.charCodeAt(f) !== 0x2f) return false;
      if (t < tEnd && topic.charCodeAt(t) !== 0x2f) return false;
    }
    if (f === fEnd) return t === tEnd;
    if (t === tEnd) return f === fEnd - 2 && filter.charCodeAt(f + 1) === 0x23; // "a/#" matches "a"
    f++;
    t++;
  }
}

function quote(text: string): string {
  return JSON.stringify(text);
}
