import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { capabilitiesOf, type EngineName } from '../../packages/server/src/log/capabilities.ts';
import { repository } from '../../scripts/house/source-files.ts';

/** The cells of a row of docs/clusters.md that begins with `name`. */
function row(name: string): string[] {
  const page = readFileSync(`${repository}docs/clusters.md`, 'utf8');
  const line = page.split('\n').find(text => text.startsWith(`| ${name} |`));
  if (line === undefined) throw new Error(`docs/clusters.md has no row ${name}`);
  return line
    .split('|')
    .slice(2, -1)
    .map(cell => cell.trim());
}

test('the table of engines in docs/clusters.md says what they can do', () => {
  const names = row('engine').map(cell => cell.replaceAll('`', '')) as EngineName[];
  expect(names).toEqual(Object.keys(capabilitiesOf));
  const told = (name: string, says: (engine: EngineName) => string): void =>
    expect(row(name).map(cell => cell.replace(/[,;:].*/, ''))).toEqual(names.map(says));
  told('several servers on one log', engine => (capabilitiesOf[engine].shared ? 'yes' : 'no'));
  told('delete for good', engine => (capabilitiesOf[engine].deletes ? 'yes' : 'no'));
  told('[work groups](#work-groups)', engine => (capabilitiesOf[engine].groups ? 'yes' : 'no'));
  told('`rules` with `keep`', engine => (capabilitiesOf[engine].keeps ? 'removes records' : 'removes nothing'));
  told('`retention.age` and `retention.bytes` remove', engine => capabilitiesOf[engine].trims);
  expect(row('durability')).toEqual(
    names.map(engine => {
      const { durabilities, shared } = capabilitiesOf[engine];
      const classes = durabilities.map(durability => `\`${durability}\``).join(' or ');
      return durabilities.length === 0 ? 'none' : shared ? `${classes}: what the server is set to` : classes;
    }),
  );
});
