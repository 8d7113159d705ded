import { checkTopic, isTailraceError } from '@tailrace/protocol';
import { type Command, CommandError, type Input, UsageError } from './command.ts';
import { describeRefusal, readRefusal, readText, send } from './http.ts';
import { serverUrl, urlOption } from './server-url.ts';

export const topicsDelete: Command = {
  name: 'topics delete',
  arguments: '<topic>',
  summary: 'Delete what a topic holds for good.',
  details: [
    'Once it says so no reader gets the messages any more. They go from the files of the data directory in the seconds or minutes that follow; backups are yours to delete. What is published to the topic later is kept.',
  ],
  options: {
    url: urlOption,
    json: { type: 'switch', help: "Print the server's answer as JSON." },
  },
  examples: [{ command: 'tailrace topics delete customers/4711', does: 'one exact topic; wildcards are refused' }],
  positionals: { least: 1, most: 1 },
  run,
};

interface Answer {
  readonly offset?: number;
  readonly pending: boolean;
}

async function run(input: Input): Promise<number> {
  const topic = input.positionals[0]!;
  try {
    checkTopic(topic);
  } catch (error) {
    throw isTailraceError(error) ? new UsageError(error.message) : error;
  }
  const path = topic.split('/').map(encodeURIComponent).join('/');
  const response = await send(new URL(`v1/topics/${path}`, serverUrl(input)), { method: 'DELETE' });
  if (response.statusCode !== 200 && response.statusCode !== 202)
    throw new CommandError(describeRefusal(await readRefusal(response)));
  const text = (await readText(response, 65_536)).trim();
  process.stdout.write(`${input.on('json') ? text : describe(topic, JSON.parse(text) as Answer)}\n`);
  return 0;
}

function describe(topic: string, { offset, pending }: Answer): string {
  if (offset === undefined) return `${topic} holds nothing`;
  return `${topic} is deleted up to offset ${offset}${pending ? '; its bytes are on their way out of the files' : ''}`;
}
