import { existsSync, globSync, readFileSync } from 'node:fs';
import { posix } from 'node:path';
import { expect, test } from 'vitest';
import { repository } from '../../scripts/house/source-files.ts';
import { pages } from './page.ts';

const all = pages();

/** The anchors that GitHub gives the headings of a page. */
function anchors(prose: string): Set<string> {
  return new Set(
    [...prose.matchAll(/^#{1,6} (.+)$/gm)].map(([, heading]) =>
      heading!
        .toLowerCase()
        .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
        .replaceAll(' ', '-'),
    ),
  );
}

/** `1`, `4.2`: the numbers that headings of a page begin with. */
function sections(path: string): Set<string> {
  const page = all.find(candidate => candidate.path === path)!;
  return new Set([...page.prose.matchAll(/^#{2,4} (\d+(?:\.\d+)*)\.? /gm)].map(match => match[1]!));
}

test('relative links lead to files and headings that are there', () => {
  const dead = all.flatMap(({ path, prose }) =>
    [...prose.matchAll(/\]\(([^)\s]+)\)/g)].flatMap(([, target = '']) => {
      if (/^[a-z]+:/.test(target)) return [];
      const [file = '', anchor] = target.split('#');
      const to = file === '' ? path : posix.join(posix.dirname(path), file);
      if (!existsSync(repository + to)) return [`${path}: ${target}`];
      const page = all.find(candidate => candidate.path === to);
      return anchor === undefined || (page !== undefined && anchors(page.prose).has(anchor))
        ? []
        : [`${path}: ${target}`];
    }),
  );
  expect(dead).toEqual([]);
});

test('every § that code or a page cites is a section of docs/protocol.md or docs/design.md', () => {
  const protocol = sections('docs/protocol.md');
  const design = sections('docs/design.md');
  expect([...protocol].filter(number => !number.includes('.'))).toEqual(
    Array.from({ length: 10 }, (_, i) => `${i + 1}`),
  );
  const code = globSync(['packages/*/{src,test}/**/*.ts', 'scripts/**/*.ts', 'examples/**/*.ts'], {
    cwd: repository,
    exclude: path => path.includes('node_modules'),
  }).map(path => ({ path, text: readFileSync(repository + path, 'utf8') }));
  const dangling = [...code, ...all.map(({ path, prose }) => ({ path, text: prose }))].flatMap(({ path, text }) => {
    // "RFC 6455 §5.1, §5.2" and "design §6, §8": a list belongs to the name before it
    const cited: [string, string, Set<string>][] = [];
    const pattern =
      /(RFC \d+|design(?:\.md)?|(?:docs\/)?protocol\.md)?,?\s*((?:§\d+(?:\.\d+)*(?:,? (?:step \d+(?:\.\d+)*,? )?(?:and )?)?)+)/g;
    for (const [whole, name = '', list = ''] of text.matchAll(pattern)) {
      if (name.startsWith('RFC')) continue;
      // websocket/ speaks of RFC 6455 throughout, and says so at its top
      if (name === '' && path.includes('/websocket/') && /RFC 6455/.test(text)) continue;
      const known = name.startsWith('design') || (name === '' && path === 'docs/design.md') ? design : protocol;
      for (const [, number = ''] of list.matchAll(/§(\d+(?:\.\d+)*)/g)) cited.push([whole.trim(), number, known]);
    }
    return cited.filter(([, number, known]) => !known.has(number)).map(([whole]) => `${path}: ${whole}`);
  });
  expect(dangling).toEqual([]);
});

test('files that docs/design.md names are there', () => {
  const { prose } = all.find(({ path }) => path === 'docs/design.md')!;
  const roots = ['', 'packages/', 'packages/server/src/', 'packages/server/', 'packages/protocol/src/'];
  const named = [...prose.matchAll(/`((?:[\w-]+\/)*[\w.-]+\.ts)`/g)].map(match =>
    match[1]!.replace(/^protocol\/(?!src)/, 'packages/protocol/src/'),
  );
  expect(named.length).toBeGreaterThan(10);
  const here = (name: string): boolean =>
    roots.some(root => existsSync(repository + root + name)) ||
    globSync(`packages/*/{src,test}/**/${name}`, { cwd: repository }).length > 0;
  expect(named.filter(name => !here(name))).toEqual([]);
});
