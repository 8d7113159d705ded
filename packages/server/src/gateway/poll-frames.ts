import { isUtf8 } from 'node:buffer';
import type { ServerResponse } from 'node:http';
import {
  type ErrorPlace,
  filterSet,
  isTailraceError,
  parseStreamRequest,
  type ServerFrame,
  type SubscriptionRequest,
  TailraceError,
  toTailraceError,
} from '@tailrace/protocol';
import type { Reader, Start } from '../hub/index.ts';
import type { LogRecord } from '../log/index.ts';
import { joinEnvelopes } from './envelopes.ts';
import type { Gateway } from './gateway.ts';
import type { PollAnswers, PollWait } from './poll-answers.ts';
import { cursorOf } from './poll-cursor.ts';

/** Bytes of records in one answer, about; shared by its subscriptions. */
const answerBytes = 256 * 1024;
/** Least that one subscription is given. */
const shareMin = 4096;

/**
 * `POST /v1/poll`: several subscriptions, each with its own cursor, answered as the frames a WebSocket would carry. The
 * server remembers nothing between two of them: a client sends each subscription with its newest cursor.
 */
export async function pollFrames(
  gateway: Gateway,
  answers: PollAnswers,
  res: ServerResponse,
  body: Buffer,
  wait: number,
  cors: readonly string[],
): Promise<void> {
  if (!isUtf8(body)) throw new TailraceError('bad_request', 'the body is not valid UTF-8, as JSON must be');
  const text = body.toString();
  const { connect, subscribe: items } = parseStreamRequest(text, gateway.o.limits);
  const frames = new Frames();
  // a poll has no heartbeats: this is what the same request to /v1/sse would get
  const heartbeat = connect?.heartbeat ?? gateway.o.heartbeat.sse;
  if (connect !== undefined) frames.add(gateway.welcome(gateway.o.random.id(12), connect.ref, heartbeat));
  const poll = answers.open(res, wait);
  try {
    const open: PolledSubscription[] = [];
    const labels = new Set<string>();
    for (let index = 0; index < items.length; index++) {
      const item = items[index]!;
      try {
        if ('error' in item) throw item.error;
        if (labels.has(item.sub)) throw inUse(item.sub);
        const start = await gateway.hub.resolveStart(filterSet(item.filters), item);
        labels.add(item.sub);
        open.push(begin(gateway, frames, item, start, { index }));
      } catch (error) {
        refuse(gateway, frames, item.sub, error, { index });
      }
    }
    await collect(gateway, poll, open, frames);
    if (poll.within !== undefined) frames.add({ type: 'drain', within: poll.within });
    poll.send(['{"frames":[', ...frames.parts, ']}'], cors);
  } finally {
    poll.end();
  }
}

/** Frames joined by commas; those with records stay bytes. */
class Frames {
  readonly parts: (string | Buffer)[] = [];

  get count(): number {
    return this.parts.length;
  }

  add(frame: ServerFrame): void {
    this.parts.push(`${this.#comma()}${JSON.stringify(frame)}`);
  }

  messages(sub: string, after: string, cursor: string, records: readonly LogRecord[]): void {
    this.parts.push(
      `${this.#comma()}{"type":"messages","sub":${JSON.stringify(sub)},"after":"${after}","cursor":"${cursor}","messages":[`,
      joinEnvelopes(records, true),
      ']}',
    );
  }

  #comma(): string {
    return this.parts.length === 0 ? '' : ',';
  }
}

interface PolledSubscription {
  readonly sub: string;
  readonly reader: Reader;
  /** Cursor of the last frame about it. */
  told: string;
  /** A client that has not been live yet is told when it is. */
  owesLive: boolean;
}

function begin(
  gateway: Gateway,
  frames: Frames,
  item: SubscriptionRequest,
  start: Start,
  at: ErrorPlace,
): PolledSubscription {
  const { hub } = gateway;
  const { tokens } = hub;
  const { sub, filters } = item;
  const { jump, snapshot, recovered } = start;
  const reader = hub.follow(filterSet(filters), jump?.to ?? start.at, snapshot, start.told);
  const granted = jump === undefined ? cursorOf(tokens, reader) : tokens.of(start.at.offset, start.at.time);
  frames.add({
    type: 'subscribed',
    at,
    sub,
    filter: filters.length === 1 ? filters[0]! : filters,
    cursor: granted,
    ...(recovered === undefined ? {} : { recovered }),
  });
  let told = granted;
  if (jump !== undefined) {
    const cursor = cursorOf(tokens, reader);
    if (jump.type === 'reset') frames.add({ type: 'reset', sub, cursor, reason: jump.reason });
    else frames.add({ type: 'gap', sub, after: granted, cursor, reason: 'trimmed' });
    told = cursor;
  }
  return { sub, reader, told, owesLive: item.cursor === undefined || jump !== undefined || snapshot !== undefined };
}

async function collect(gateway: Gateway, poll: PollWait, open: PolledSubscription[], frames: Frames): Promise<void> {
  // what cannot be read ends its own subscription
  const giveUp = (subscription: PolledSubscription) => (error: unknown) => {
    open.splice(open.indexOf(subscription), 1);
    refuse(gateway, frames, subscription.sub, error, { sub: subscription.sub });
    return false;
  };
  // refusals and jumps are told at once; `subscribed` alone is worth waiting for what follows it
  let urgent = frames.count > open.length;
  while (!poll.gone) {
    const before = frames.count;
    const budget = { left: answerBytes };
    let behind = false;
    for (const subscription of [...open]) {
      if (budget.left <= 0) behind = true;
      else if (await readOne(gateway, subscription, frames, budget, open.length).catch(giveUp(subscription)))
        behind = true;
    }
    urgent ||= frames.count > before;
    if (urgent || poll.over || open.length === 0) break;
    if (!behind) await poll.any(open.map(({ reader }) => reader));
  }
  tellCursors(gateway, open, frames);
}

/** Reads on once; true when there is more. */
async function readOne(
  gateway: Gateway,
  subscription: PolledSubscription,
  frames: Frames,
  budget: { left: number },
  sharers: number,
): Promise<boolean> {
  const { tokens } = gateway.hub;
  const { sub, reader } = subscription;
  const { records, gap, reset, atHead } = await reader.read(Math.max(shareMin, Math.floor(answerBytes / sharers)));
  if (gap !== undefined) {
    const cursor = tokens.of(gap.offset, gap.time);
    frames.add({
      type: 'gap',
      sub,
      after: subscription.told,
      cursor,
      reason: 'trimmed',
    });
    subscription.told = cursor;
  }
  const cursor = cursorOf(tokens, reader);
  if (reset !== undefined) {
    frames.add({ type: 'reset', sub, cursor, reason: 'compacted' });
    subscription.told = cursor;
    subscription.owesLive = true;
  }
  if (records.length > 0) {
    frames.messages(sub, subscription.told, cursor, records);
    subscription.told = cursor;
    subscription.owesLive = true;
    for (const record of records) {
      budget.left -= record.weight;
      if (record.end && reader.filters.exact?.has(record.topic) === true)
        frames.add({ type: 'end', sub, topic: record.topic, cursor });
    }
  }
  if (atHead && subscription.owesLive && subscription.told === cursor) {
    subscription.owesLive = false;
    frames.add({ type: 'live', sub, cursor });
  }
  return !atHead;
}

/** A quiet subscription's cursor moves too, or it would age into a gap. */
function tellCursors(gateway: Gateway, open: readonly PolledSubscription[], frames: Frames): void {
  const { tokens } = gateway.hub;
  for (const { sub, reader, told } of open) {
    if (reader.isRewound) continue;
    const cursor = cursorOf(tokens, reader);
    if (cursor !== told) frames.add({ type: 'cursor', sub, after: told, cursor });
  }
}

function refuse(gateway: Gateway, frames: Frames, sub: string | undefined, thrown: unknown, at: ErrorPlace): void {
  if (!isTailraceError(thrown)) gateway.o.onFault(thrown);
  frames.add({
    type: 'error',
    ...(sub === undefined ? {} : { sub }),
    ...toTailraceError(thrown).placed(at).toProblem(),
  });
}

function inUse(sub: string): TailraceError {
  return new TailraceError(
    'already_subscribed',
    `this request has a subscription labelled ${JSON.stringify(sub)} already`,
    {
      at: { sub },
    },
  );
}
