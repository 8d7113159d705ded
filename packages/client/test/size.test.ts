import { gzipSync } from 'node:zlib';
import { rolldown } from 'rolldown';
import { expect, test } from 'vitest';

/** Bytes of what a browser loads for this module. */
async function sizeOf(code: string): Promise<number> {
  const entry = '\0entry.ts';
  const bundle = await rolldown({
    input: entry,
    platform: 'browser',
    plugins: [{ name: 'entry', resolveId: id => (id === entry ? id : null), load: id => (id === entry ? code : null) }],
  });
  const { output } = await bundle.generate({ format: 'esm', minify: true });
  expect(output).toHaveLength(1);
  expect(output[0].imports).toEqual([]);
  return gzipSync(output[0].code, { level: 9 }).length;
}

const client = JSON.stringify(new URL('../src/index.ts', import.meta.url).pathname);

test('the client has at most 9 KB, with all transports, minified and compressed', async () => {
  expect(await sizeOf(`export { connect } from ${client}`)).toBeLessThanOrEqual(9 * 1024);
});

test('a transport that is not named is left out', async () => {
  const all = await sizeOf(`export { connect } from ${client}`);
  const one = await sizeOf(`export { Client, webSocket } from ${client}`);
  expect(one).toBeLessThan(all - 900);
});
