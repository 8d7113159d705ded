import { checkTopic, durabilities, isTailraceError } from '@tailrace/protocol';
import { Backoff } from './backoff.ts';
import { coloursFor } from './colour.ts';
import { type Command, CommandError, type Input, UsageError } from './command.ts';
import { describeRefusal, type Refusal, readRefusal, readText, send, Unreachable } from './http.ts';
import { LineSplitter } from './lines.ts';
import { idSequence, type MessageFields, messageText, withId } from './message-text.ts';
import { NdjsonPublisher } from './ndjson-publisher.ts';
import { serverUrl, urlOption } from './server-url.ts';

export const pub: Command = {
  name: 'pub',
  arguments: '<topic> [data]',
  summary: 'Publish one message, or every line of standard input.',
  details: [
    'Data given as an argument is JSON if it parses as JSON, else text. Without it each line of standard input becomes a message as soon as it is there: text, unless --json-lines or --content-type says otherwise. With --ndjson each line is a whole message with its topic and fields, and no topic is given.',
    'Every message carries an id, so that what is sent again after a broken connection is not doubled. Lines keep their order; when the server restarts, publishing goes on where it stopped.',
  ],
  options: {
    url: urlOption,
    key: { type: 'text', value: 'key', help: 'Key of the message; empty data deletes the key.' },
    expect: {
      type: 'text',
      value: 'offset',
      help: 'Publish only if this is the offset of the newest record of the key, or there is none: absent.',
    },
    id: { type: 'text', value: 'id', help: 'Id of the one message, 1 to 128 printable characters; else a random one.' },
    'content-type': { type: 'text', value: 'type', help: 'Content type of the data.' },
    event: { type: 'text', value: 'name', help: 'Event name that EventSource listeners see.' },
    durability: { type: 'text', value: 'class', help: `What the ack promises: ${durabilities.join(', ')}.` },
    'json-lines': {
      type: 'switch',
      help: 'Lines of standard input are JSON values, not text; empty ones are skipped.',
    },
    ndjson: { type: 'switch', help: 'Lines of standard input are whole messages: {"topic":"a/b","data":1}.' },
    json: { type: 'switch', help: "Print the server's answer as JSON." },
  },
  examples: [
    { command: `tailrace pub orders/42 '{"state":"paid"}'`, does: 'one message' },
    { command: `tailrace pub doors/1 '"open"' --key lock --expect 1526`, does: 'only if nobody else was faster' },
    { command: 'tail -f any.log | tailrace pub logs/app', does: 'every line as it is written' },
    { command: 'tailrace pub --ndjson < messages.ndjson', does: 'whole messages from a file' },
  ],
  exitCodes: { 3: 'the newest record of the key is not the one that --expect names' },
  positionals: { least: 0, most: 2 },
  run,
};

async function run(input: Input): Promise<number> {
  const [topic, data] = input.positionals;
  const url = serverUrl(input);
  if (input.on('ndjson')) {
    if (topic !== undefined) throw new UsageError('with --ndjson each line names its topic: give none as an argument');
    for (const name of ['key', 'expect', 'id', 'content-type', 'event', 'durability', 'json-lines'])
      if (name in input.all) throw new UsageError(`--${name} does not go with --ndjson: each line has its own fields`);
    const nextId = idSequence();
    return publishLines(input, url, line => (line.trim() === '' ? undefined : withId(line, nextId())));
  }
  if (topic === undefined) throw new UsageError('a topic is missing: tailrace pub <topic> [data]');
  const fields = readFields(input, topic);
  if (data !== undefined) return publishOne(input, url, fields, data);
  for (const name of ['id', 'expect'])
    if (name in input.all) throw new UsageError(`--${name} is about one message: give its data as an argument`);
  const nextId = idSequence();
  const jsonLines = input.on('json-lines');
  const contentType = fields.contentType ?? (jsonLines ? undefined : 'text/plain');
  return publishLines(input, url, line =>
    jsonLines && line.trim() === '' ? undefined : messageText({ ...fields, contentType }, nextId(), line),
  );
}

async function publishOne(input: Input, url: URL, fields: MessageFields, data: string): Promise<number> {
  if (input.on('json-lines'))
    throw new UsageError('--json-lines is about standard input; data was given as an argument');
  const contentType =
    fields.contentType ?? (isJson(data) || (data === '' && fields.key !== undefined) ? undefined : 'text/plain');
  const id = input.text('id') ?? idSequence()();
  const answer = await publishWithRetries(
    new URL('v1/publish', url),
    id,
    messageText({ ...fields, contentType }, id, data),
  );
  if (typeof answer !== 'string') return notExpected(input, answer);
  if (input.on('json')) process.stdout.write(`${answer.trim()}\n`);
  return 0;
}

const expectFailedCode = 3;

/** The record that is there instead, to decide anew by. */
function notExpected(input: Input, refusal: Refusal): number {
  const { red } = coloursFor(process.stderr);
  if (input.on('json')) process.stdout.write(`${JSON.stringify(refusal)}\n`);
  process.stderr.write(`${red('tailrace:')} ${describeRefusal(refusal)}\n`);
  if (refusal.current !== null) process.stderr.write(`current: ${JSON.stringify(refusal.current)}\n`);
  return expectFailedCode;
}

/** Some 6 s of pauses on average: a server that restarts is back by then. */
const maxAttempts = 8;

/**
 * The id makes trying again safe; what the server refuses for good, or a server that is not there, ends it. Returns the
 * answer, or the refusal of a message that expected something else.
 */
async function publishWithRetries(url: URL, id: string, body: string): Promise<string | Refusal> {
  const backoff = new Backoff();
  let mayBeTaken = false;
  const giveUp = (why: string): CommandError =>
    new CommandError(mayBeTaken ? `${why}; the message may have been taken: publish it again with --id ${id}` : why);
  for (let attempt = 1; ; attempt++) {
    try {
      const response = await send(url, { method: 'POST', headers: { 'content-type': 'application/json' }, body });
      if (response.statusCode === 200 || response.statusCode === 202) return await readText(response, 65_536);
      const refusal = await readRefusal(response);
      if (refusal.code === 'expect_failed') return refusal;
      mayBeTaken ||= refusal.outcome === 'unknown';
      if (refusal.retry !== 'later' || attempt === maxAttempts) throw giveUp(describeRefusal(refusal));
      await backoff.wait(refusal.retryAfter);
    } catch (error) {
      if (!(error instanceof Unreachable)) throw error;
      // refused at once: nothing was sent
      if (error.refused && attempt === 1) throw error;
      mayBeTaken ||= !error.refused;
      if (attempt === maxAttempts) throw giveUp(error.what);
      await backoff.wait(undefined);
    }
  }
}

/** `toText` makes the NDJSON of a line; undefined leaves it out. */
async function publishLines(input: Input, url: URL, toText: (line: string) => string | undefined): Promise<number> {
  const { yellow } = coloursFor(process.stderr);
  const publisher = new NdjsonPublisher(url, {
    notice: text => process.stderr.write(`${yellow('tailrace:')} ${text}\n`),
    // ends the wait for a next line, which may never come
    fail: error => process.stdin.destroy(error),
  });
  const splitter = new LineSplitter();
  let read = 0;
  let bad: string | undefined;
  const publish = async (lines: readonly string[]): Promise<void> => {
    const texts: string[] = [];
    for (const line of lines) {
      read++;
      try {
        const text = toText(line);
        if (text !== undefined) texts.push(text);
      } catch (error) {
        bad = `line ${read} ${(error as Error).message}`;
        break;
      }
    }
    await publisher.send(texts);
  };
  process.stdin.setEncoding('utf8');
  for await (const chunk of process.stdin) {
    await publish(splitter.push(chunk as string));
    if (bad !== undefined) break;
  }
  if (bad === undefined) await publish(splitter.end());
  const totals = await publisher.end();
  if (input.on('json')) process.stdout.write(`${JSON.stringify(totals)}\n`);
  if (bad !== undefined) throw new CommandError(`${bad}; the ${totals.accepted} messages before it were published`);
  return 0;
}

function readFields(input: Input, topic: string): MessageFields {
  const durability = input.text('durability');
  if (durability !== undefined && !(durabilities as readonly string[]).includes(durability))
    throw new UsageError(`--durability is "${durability}", not one of ${durabilities.join(', ')}`);
  try {
    // before reading a pipe: a slip in the topic should not wait for the first line
    checkTopic(topic);
  } catch (error) {
    throw isTailraceError(error) ? new UsageError(error.message) : error;
  }
  return {
    topic,
    contentType: input.text('content-type'),
    key: input.text('key'),
    event: input.text('event'),
    durability,
    expect: readExpect(input),
  };
}

function readExpect(input: Input): MessageFields['expect'] {
  const text = input.text('expect');
  if (text === undefined) return undefined;
  if (input.text('key') === undefined)
    throw new UsageError('--expect is about the newest record of a key: give --key too');
  if (text === 'absent') return { absent: true };
  const offset = /^[1-9]\d{0,15}$/.test(text) ? Number(text) : Number.NaN;
  if (!Number.isSafeInteger(offset))
    throw new UsageError(`--expect is "${text}", not the offset of a record, nor absent`);
  return { offset };
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
