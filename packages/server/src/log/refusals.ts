import { type Message, TailraceError } from '@tailrace/protocol';

/** `found`: offset of the newest record of the key, 0 when there is none. */
export function expectFailed({ topic, key, expect }: Message, found: number): TailraceError {
  const is = found === 0 ? 'there is none' : `it is at offset ${found}`;
  const expected = expect === 0 ? 'no record' : `the record at offset ${expect}`;
  return new TailraceError(
    'expect_failed',
    `the publish expects ${expected} as the newest of key ${JSON.stringify(key)} of topic ${JSON.stringify(topic)}; ${is}`,
    { at: { field: 'expect' }, current: found === 0 ? null : { topic, offset: found, key: key! } },
  );
}

export function sequenceTooOld(message: Message): TailraceError {
  return new TailraceError(
    'sequence_too_old',
    `sequence ${message.sequence} of producer ${JSON.stringify(message.producer)} lies more than 1,024 below its highest`,
    { at: { field: 'sequence' } },
  );
}

export function topicEnded(topic: string, offset: number): TailraceError {
  return new TailraceError('topic_ended', `topic ${JSON.stringify(topic)} was ended at offset ${offset}`);
}

export function bridgedTopic(topic: string): TailraceError {
  return new TailraceError(
    'publish_forbidden',
    `topic ${JSON.stringify(topic)} comes from another system (bridge) and is only read here: publish to where it comes from`,
    { at: { field: 'topic' } },
  );
}

/** `bytes`: what the record may have; `most`: what the log takes. */
export function recordTooLarge(bytes: number, most: number): TailraceError {
  return new TailraceError('payload_too_large', `the record would have up to ${bytes} bytes; the log takes ${most}`, {
    at: { field: 'data' },
  });
}
