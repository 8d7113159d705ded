import type { Colours } from './colour.ts';
import type { Command, Option } from './command.ts';
import { commonOptions } from './parse.ts';

const width = 100;

/** The text of `tailrace <command> --help`. */
export function commandHelp(command: Command, { bold, cyan, dim }: Colours): string {
  const parts = [
    `${bold('Usage:')} tailrace ${command.name}${command.arguments === '' ? '' : ` ${command.arguments}`} [options]`,
    wrap(command.summary, ''),
    ...(command.details ?? []).map(paragraph => wrap(paragraph, '')),
  ];
  const groups = Map.groupBy(
    Object.entries({ ...command.options, ...commonOptions }),
    ([, option]) => option.group ?? 'Options',
  );
  // the command's own options first, whatever the order of the table
  for (const [group, options] of [...groups].sort(([a], [b]) => Number(b === 'Options') - Number(a === 'Options'))) {
    parts.push(
      `${bold(`${group}:`)}\n${table(options.map(([name, option]) => [cyan, spell(name, option), option.help]))}`,
    );
  }
  parts.push(
    `${bold('Examples:')}\n${command.examples.map(({ command, does }) => `  ${dim(`# ${does}`)}\n  ${command}`).join('\n')}`,
    `${bold('Exit codes:')}\n${wrap(exitCodes(command), '  ')}`,
  );
  return `${parts.join('\n\n')}\n`;
}

/** Lines of two columns; the first is painted after its width was taken. */
export function table(rows: readonly (readonly [(text: string) => string, string, string])[]): string {
  const first = Math.min(30, Math.max(...rows.map(([, left]) => left.length)));
  return rows
    .map(([paint, left, right]) => {
      const indent = ' '.repeat(first + 4);
      const text = wrap(right, indent).trimStart();
      return left.length > first
        ? `  ${paint(left)}\n${indent}${text}`
        : `  ${paint(left)}${' '.repeat(first - left.length)}  ${text}`;
    })
    .join('\n');
}

function spell(name: string, { type, short, value }: Option): string {
  return `${short === undefined ? '' : `-${short}, `}--${name}${type === 'switch' ? '' : ` <${value ?? 'value'}>`}`;
}

function exitCodes({ exitCodes }: Command): string {
  const all = {
    0: 'done',
    1: 'failed',
    2: 'wrong usage',
    130: 'ended by SIGINT (Ctrl-C)',
    143: 'ended by SIGTERM',
    ...exitCodes,
  };
  return Object.entries(all)
    .map(([code, meaning]) => `${code} ${meaning}`)
    .join(', ');
}

function wrap(text: string, indent: string): string {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && indent.length + line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else {
      line = line === '' ? word : `${line} ${word}`;
    }
  }
  return [...lines, line].map(each => indent + each).join('\n');
}
