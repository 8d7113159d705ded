import type { Envelope } from '@tailrace/protocol';
import { coloursFor } from './colour.ts';
import { type Command, CommandError, type Input, UsageError } from './command.ts';
import { checkFilterArguments } from './filters.ts';
import { describeRefusal, type Refusal, readRefusal, send } from './http.ts';
import { LineSplitter } from './lines.ts';
import { printer } from './print-message.ts';
import { serverUrl, urlOption } from './server-url.ts';
import { printForm, printOptions } from './sub.ts';

export const replay: Command = {
  name: 'replay',
  arguments: '<filter>…',
  summary: 'Print what the log holds and end.',
  details: ['Reads up to --to, or to the newest message of the moment it began. tailrace sub goes on live.'],
  options: {
    url: urlOption,
    from: {
      type: 'text',
      value: 'where',
      help: 'Where to begin: earliest (default), a cursor, last, last:N, -5m, an RFC 3339 time, @offset.',
    },
    to: { type: 'text', value: 'where', help: 'Where to end: a cursor, -5m, an RFC 3339 time, @offset.' },
    limit: { type: 'text', value: 'n', help: 'Print at most this many messages.' },
    order: { type: 'text', value: 'order', help: 'oldest (default) or newest first.' },
    ...printOptions,
    json: {
      type: 'switch',
      help: 'Print the answer as it comes: a JSON envelope a line, the last line {"done":true,"cursor":…,"before":…,"more":…}.',
    },
  },
  examples: [
    { command: `tailrace replay 'orders/#' --from -1h`, does: 'the last hour' },
    { command: `tailrace replay 'logs/#' --order newest --limit 20`, does: 'the last 20' },
    { command: `tailrace replay '#' --json > backup.ndjson`, does: 'everything, for other tools' },
  ],
  positionals: { least: 1, most: Number.POSITIVE_INFINITY },
  run,
};

/** The last line of a replay (protocol.md §6). */
interface Done {
  readonly done: true;
  readonly cursor: string;
  readonly before?: string;
  readonly more?: boolean;
}

async function run(input: Input): Promise<number> {
  checkFilterArguments(input.positionals);
  const form = printForm(input);
  const { print, flushed } = printer(form, coloursFor(process.stdout));
  const response = await send(logUrl(input), { headers: { accept: 'application/x-ndjson, application/problem+json' } });
  if (response.statusCode !== 200) throw new CommandError(describeRefusal(await readRefusal(response)));
  const splitter = new LineSplitter();
  response.setEncoding('utf8');
  let last: Done | undefined;
  try {
    for await (const chunk of response) {
      for (const text of splitter.push(chunk as string)) {
        const line = JSON.parse(text) as Envelope | Done | { readonly error: Refusal };
        if (form === 'json') process.stdout.write(`${text}\n`);
        if ('error' in line) throw new CommandError(describeRefusal(line.error));
        if ('done' in line) last = line;
        else if (form !== 'json') print(line);
      }
      await flushed();
    }
  } catch (cause) {
    if (cause instanceof CommandError) throw cause;
    throw new CommandError(`the replay broke off: ${(cause as Error).message}`, { cause });
  }
  if (last === undefined) throw new CommandError('the replay broke off: the server closed the connection');
  if (last.more === true && form !== 'json') process.stderr.write(`${whatFollows(input, last)}\n`);
  return 0;
}

function whatFollows(input: Input, { cursor, before }: Done): string {
  return input.text('order') === 'newest'
    ? `there is more before: --order newest --to ${before}`
    : `there is more: --from ${cursor}`;
}

function logUrl(input: Input): URL {
  const url = new URL('v1/log', serverUrl(input));
  for (const filter of input.positionals) url.searchParams.append('filter', filter);
  const order = input.text('order');
  if (order !== undefined && order !== 'oldest' && order !== 'newest')
    throw new UsageError(`--order is "${order}", not oldest or newest`);
  const limit = input.count('limit', 1);
  for (const [name, value] of [
    ['from', input.text('from')],
    ['to', input.text('to')],
    ['limit', limit],
    ['order', order],
  ] as const) {
    if (value !== undefined) url.searchParams.set(name, String(value));
  }
  return url;
}
