// The `tailrace` command. Node runs this file itself; what a command needs is loaded when it is asked for.
import { didYouMean } from '@tailrace/protocol';
import { withoutPassword } from '../log/without-password.ts';
import { version } from '../version.ts';
import { type CatalogueEntry, catalogue } from './catalogue.ts';
import { coloursFor } from './colour.ts';
import { type Command, CommandError, UsageError } from './command.ts';
import { commandHelp, table } from './help.ts';
import { followLauncher } from './launcher.ts';
import { parseInput } from './parse.ts';

followLauncher();
// `tailrace sub … | head -1` ends here, as other programs end by SIGPIPE
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));

process.exitCode = await main(process.argv.slice(2));

async function main(words: readonly string[]): Promise<number> {
  let name = '';
  try {
    const first = words[0];
    if (first === 'help' || first === '--help' || first === '-h') return await help(words.slice(1));
    if (first === '--version' || first === '-V' || first === 'version') {
      process.stdout.write(`${version}\n`);
      return 0;
    }
    if (membersOf(first).length > 0) {
      name = first!;
      if (words[1] === '--help' || words[1] === '-h') return await help([first!]);
    }
    const { command, rest } = await find(words);
    name = command.name;
    const input = parseInput(command, rest);
    if (input.on('help')) {
      process.stdout.write(commandHelp(command, coloursFor(process.stdout)));
      return 0;
    }
    return await command.run(input);
  } catch (error) {
    return report(error, name);
  }
}

/** The command that the first words name; without one, `serve`. */
async function find(words: readonly string[]): Promise<{ command: Command; rest: readonly string[] }> {
  const first = words[0];
  if (first === undefined || first.startsWith('-')) return { command: await catalogue[0]!.load(), rest: words };
  for (const count of [2, 1]) {
    const entry = catalogue.find(({ name }) => name === words.slice(0, count).join(' '));
    if (entry !== undefined) return { command: await entry.load(), rest: words.slice(count) };
  }
  const members = membersOf(first);
  if (members.length > 0)
    throw new UsageError(`tailrace ${first} needs one of: ${members.map(({ name }) => name.split(' ')[1]).join(', ')}`);
  const hint = didYouMean(first, [...new Set(catalogue.map(({ name }) => name.split(' ')[0]!))]);
  throw new UsageError(`there is no command "${withoutPassword(first)}"${hint}`);
}

/** The commands of a group: `log verify` and others of `log`. */
function membersOf(first: string | undefined): readonly CatalogueEntry[] {
  return catalogue.filter(({ name }) => name.startsWith(`${first} `));
}

async function help(words: readonly string[]): Promise<number> {
  const colours = coloursFor(process.stdout);
  const [first] = words;
  const members = membersOf(first);
  if (members.length > 0 && words.length === 1) {
    const rows = members.map(({ name, summary }) => [colours.cyan, name, summary] as const);
    process.stdout.write(`${colours.bold('Usage:')} tailrace ${first} <command> [arguments] [options]

${table(rows)}

\`tailrace ${first} <command> --help\` says more of each.
`);
    return 0;
  }
  if (words.length > 0) {
    process.stdout.write(commandHelp((await find(words)).command, colours));
    return 0;
  }
  const rows = catalogue.map(({ name, summary }) => [colours.cyan, name, summary] as const);
  process.stdout.write(`${colours.bold('Tailrace')} ${version}: a real-time push server. Every message goes into one log, every subscription is a cursor on it.

${colours.bold('Usage:')} tailrace [command] [arguments] [options]

${table(rows)}

  ${colours.dim('# two terminals')}
  tailrace serve
  tailrace sub '#' --from earliest

  ${colours.dim('# a third')}
  tailrace pub news/today '{"headline":"it works"}'

\`tailrace <command> --help\` says more of each. Settings: \`tailrace serve --help\`.
`);
  return 0;
}

function report(error: unknown, name: string): number {
  const { red } = coloursFor(process.stderr);
  if (error instanceof UsageError) {
    process.stderr.write(
      `${red('tailrace:')} ${error.message}\nTry: tailrace ${name === '' ? '' : `${name} `}--help\n`,
    );
    return 2;
  }
  if (error instanceof CommandError) {
    process.stderr.write(`${red('tailrace:')} ${error.message}\n`);
    return 1;
  }
  process.stderr.write(
    `${red('tailrace:')} ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
  );
  return 1;
}
