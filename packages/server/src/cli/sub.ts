import { coloursFor } from './colour.ts';
import type { Command, Input } from './command.ts';
import { UsageError } from './command.ts';
import { CursorFile } from './cursor-file.ts';
import { describeNotice } from './describe-notice.ts';
import { checkFilterArguments } from './filters.ts';
import { type PrintForm, printer } from './print-message.ts';
import { serverUrl, urlOption } from './server-url.ts';
import { subscribeBySse } from './sse-subscription.ts';

export const printOptions = {
  json: { type: 'switch', help: 'Print each message as one line of JSON, with topic, offset, time and all fields.' },
  raw: { type: 'switch', help: 'Print the data alone; binary data as its bytes.' },
} as const;

export const sub: Command = {
  name: 'sub',
  arguments: '<filter>…',
  summary: 'Print messages as they come, across disconnects and restarts.',
  details: [
    'Several filters make one subscription, in log order, each message once. Quote filters: a shell reads # and + too. A lost connection is taken up again at the last cursor, so nothing is missed; if the log no longer has it, a gap is told on standard error.',
  ],
  options: {
    url: urlOption,
    from: {
      type: 'text',
      value: 'where',
      help: 'Where to begin: now (default), earliest, last (newest of each topic), last:N, -5m, an RFC 3339 time, @offset.',
    },
    cursor: { type: 'text', value: 'cursor', help: 'Go on after this cursor, from an earlier run.' },
    'cursor-file': {
      type: 'text',
      value: 'file',
      help: 'Go on after the cursor in this file, and keep it up to date after what was printed. Without the file, --from counts.',
    },
    count: { type: 'text', value: 'n', help: 'End after this many messages.' },
    ...printOptions,
  },
  examples: [
    { command: `tailrace sub 'orders/#'`, does: 'everything below orders/, from now on' },
    { command: `tailrace sub 'logs/#' --from earliest`, does: 'all there is, then live' },
    { command: `tailrace sub 'jobs/+' --cursor-file jobs.cursor --json`, does: 'continue where the last run stopped' },
    { command: 'tailrace sub prices/eur --from last --count 1 --raw', does: 'the present value' },
  ],
  exitCodes: { 0: '--count reached, the topics ended or nobody reads the output any more' },
  positionals: { least: 1, most: Number.POSITIVE_INFINITY },
  run,
};

async function run(input: Input): Promise<number> {
  const filters = input.positionals;
  checkFilterArguments(filters);
  const count = input.count('count', 1) ?? Number.POSITIVE_INFINITY;
  const path = input.text('cursor-file');
  const cursorFile = path === undefined ? undefined : new CursorFile(path);
  const { print, flushed } = printer(printForm(input), coloursFor(process.stdout));
  const { yellow } = coloursFor(process.stderr);
  const notice = (text: string): void => {
    process.stderr.write(`${yellow('tailrace:')} ${text}\n`);
  };
  const stream = subscribeBySse(serverUrl(input), {
    filters,
    from: input.text('from'),
    cursor: input.text('cursor') ?? cursorFile?.read(),
    notice,
  });

  let printed = 0;
  for await (const events of stream) {
    let cursor: string | undefined;
    for (const event of events) {
      if ('message' in event) {
        print(event.message);
        printed++;
      } else if ('notice' in event) {
        const words = describeNotice(event.notice);
        if (words !== undefined) notice(words);
      }
      cursor = event.cursor ?? cursor;
      if (printed === count) break;
    }
    await flushed();
    cursorFile?.write(cursor);
    if (printed === count) break;
  }
  return 0;
}

export function printForm(input: Input): PrintForm {
  if (input.on('json') && input.on('raw')) throw new UsageError('--json and --raw exclude each other');
  return input.on('json') ? 'json' : input.on('raw') ? 'raw' : 'text';
}
