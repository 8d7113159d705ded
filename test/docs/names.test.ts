import { readFileSync } from 'node:fs';
import { errorTable } from '@tailrace/protocol';
import { expect, test } from 'vitest';
import { catalogue } from '../../packages/server/src/cli/catalogue.ts';
import { commonOptions } from '../../packages/server/src/cli/parse.ts';
import { settings } from '../../packages/server/src/config/index.ts';
import { repository } from '../../scripts/house/source-files.ts';
import { type Page, pages } from './page.ts';
import { Stage } from './stage.ts';

// settings.md and errors.md are generated from the tables that these tests compare with
const written = pages().filter(({ path }) => path !== 'docs/settings.md' && path !== 'docs/errors.md');
const settingNames = new Set(settings.map(({ name }) => name));

/** Every match of `pattern`'s first group in text and blocks, as `page: name`, that `known` does not accept. */
function unknown(pattern: RegExp, known: (name: string) => boolean, text = (page: Page) => page.text): string[] {
  return written.flatMap(page =>
    [...text(page).matchAll(pattern)].flatMap(([, name = '']) => (known(name) ? [] : [`${page.path}: ${name}`])),
  );
}

/** What stands in backticks, outside of blocks. */
function quoted({ prose }: Page): string {
  return [...prose.matchAll(/`([^`\n]+)`/g)].map(match => match[1]).join('\n');
}

test('flags of tailrace that pages name exist', async () => {
  const flags = new Set(Object.keys(commonOptions));
  for (const entry of catalogue) for (const name of Object.keys((await entry.load()).options)) flags.add(name);
  const commands = ({ text }: Page): string =>
    text
      .split('\n')
      .flatMap(line => /(?:npx tailrace|tailrace|npm start --) .*/.exec(line)?.[0] ?? [])
      .join('\n');
  expect(unknown(/ --([a-z][\w.-]*)/gi, name => flags.has(name), commands)).toEqual([]);
  expect(unknown(/(?:^| )--([a-z]+\.[\w.]+)/gim, name => settingNames.has(name))).toEqual([]);
});

test('settings that pages name exist', () => {
  const groups = new Set([...settingNames].filter(name => name.includes('.')).map(name => name.split('.')[0]!));
  const ofKafka = new Set(['retention.ms']);
  const inRules = new Set(['lag.policy', 'lag.after', 'keep.last', 'keep.lastPerKey']);
  const isSetting = (name: string): boolean =>
    !groups.has(name.split('.')[0]!) ||
    /\.(json|ts|md|append)$/.test(name) ||
    inRules.has(name) ||
    ofKafka.has(name) ||
    settingNames.has(name);
  expect(unknown(/^([a-z]+\.[a-zA-Z]+)/gm, isSetting, quoted)).toEqual([]);
});

test('environment variables that pages name exist', () => {
  const variables = new Set([...settings.map(({ env }) => env), 'TAILRACE_URL', 'TAILRACE_CONFIG']);
  expect(unknown(/\b(TAILRACE_[A-Z_]+)/g, name => variables.has(name))).toEqual([]);
});

test('names in snake case are error codes, metrics, kinds of log lines, or names of others', () => {
  const reports = readFileSync(`${repository}packages/server/src/log/report.ts`, 'utf8');
  const kinds = [...reports.matchAll(/\| '(\w+)'/g)].map(match => match[1]);
  const client = readFileSync(`${repository}packages/client/src/errors.ts`, 'utf8');
  const clientCodes = [...client.matchAll(/\| '(\w+)'/g)].map(match => match[1]);
  const others = new Set([
    ...kinds,
    ...clientCodes,
    'predict_linear',
    'reverse_proxy',
    'sync_interval',
    'max_payload',
    'read_committed',
  ]);
  const known = (name: string): boolean =>
    name in errorTable ||
    name.startsWith('tailrace_') ||
    /^(tcp|net|nodejs|process|proxy)_/.test(name) ||
    others.has(name);
  expect(unknown(/(?:^|\s)([a-z]+(?:_[a-z]+)+)(?=$|[\s{])/gm, known, quoted)).toEqual([]);
});

test('docs/operations.md explains every metric of a running server, and no other', async () => {
  await using stage = await Stage.open();
  const text = await (await fetch(`${stage.url}/metrics`)).text();
  const exported = new Set([...text.matchAll(/^# TYPE (tailrace_\w+) /gm)].map(match => match[1]!));
  const page = written.find(({ path }) => path === 'docs/operations.md')!;
  const explained = new Set([...page.text.matchAll(/\b(tailrace_[a-z_]+)/g)].map(match => match[1]!));
  expect(exported.size).toBeGreaterThan(10);
  expect([...explained].sort()).toEqual([...exported].sort());
});

test('docs/operations.md has every limit on input, with the default and the status of its error', () => {
  const { text } = written.find(({ path }) => path === 'docs/operations.md')!;
  const section = text.slice(text.indexOf('\n## Limits\n'), text.indexOf('\n## Metrics\n'));
  const rows = [...section.matchAll(/^\| [^|]+ \| `([\w.]+)` \| `(\w+)` \| ([^|]+) \|/gm)];
  const stated = new Map(rows.map(([, name, shown]) => [name!, shown!]));
  const limits = settings.filter(({ name }) => name.startsWith('limits.') || stated.has(name));
  expect(Object.fromEntries(stated)).toEqual(Object.fromEntries(limits.map(({ name, shown }) => [name, shown])));
  const errors = [...section.matchAll(/\b(?:close code 4)?([45]\d\d) `([a-z_]+)`(?: or `([a-z_]+)`)?/g)];
  expect(errors.length).toBeGreaterThan(10);
  for (const [, status, ...codes] of errors)
    for (const code of codes.filter(name => name !== undefined))
      expect(errorTable[code as keyof typeof errorTable].status, code).toBe(Number(status));
});
