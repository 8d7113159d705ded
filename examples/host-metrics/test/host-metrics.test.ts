import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Served } from '../../../packages/server/test/cli/served.ts';
import { describeInBrowser, launchChromium } from '../../../test/browser/chromium.ts';
import { Terminal } from '../../../test/docs/terminal.ts';
import { LossyProxy } from './lossy-proxy.ts';

/** What the page keeps of one topic, in the order in which it came. */
interface Point {
  readonly run: string;
  readonly tick: number;
  /** When it was measured and when it was stored, ms. */
  readonly at: number;
  readonly time: number;
}

const directory = fileURLToPath(new URL('..', import.meta.url));
const kills = 2;
/** A deadline, not a pause: each kill takes some seconds until the browser tries again. */
const patienceMs = 60_000;

describeInBrowser('host metrics', () => {
  let tailrace: Served;
  let proxy: LossyProxy;
  let example: Terminal;
  let browser: Browser;
  let page: Page;

  beforeAll(async () => {
    if (!existsSync('/proc/stat')) throw new Error('this example and its test need /proc: Linux');
    tailrace = await Served.start();
    proxy = await LossyProxy.open(tailrace.port, 7);
    example = new Terminal(`exec '${process.execPath}' serve.ts`, {
      cwd: directory,
      env: { ...process.env, TAILRACE_URL: proxy.url, PORT: '0' },
    });
    const address = await example.until(output => /host metrics at (\S+\/),/.exec(output)?.[1], 'its address');
    browser = await launchChromium();
    page = await browser.newPage();
    page.setDefaultTimeout(patienceMs);
    // the example publishes through the proxy, the browser reads from the server itself
    await page.route('**/config.json', route => route.fulfill({ json: { tailrace: tailrace.url } }));
    await page.goto(address);
  });

  afterAll(async () => {
    await browser?.close();
    await example?.[Symbol.asyncDispose]();
    await proxy?.[Symbol.asyncDispose]();
    await tailrace?.[Symbol.asyncDispose]();
  });

  it(
    'draws this machine without a hole and without a double though acks are lost and the server is killed',
    async () => {
      await pointsPast(8);
      for (let kill = 1; kill <= kills; kill++) {
        expect(await tailrace.kill('SIGKILL')).toBe('SIGKILL');
        const before = await newestTick();
        // the publisher has been refused, so there are ticks that no server took, and the page has seen its stream break
        const { refused } = proxy;
        await expect.poll(() => proxy.refused, { timeout: patienceMs }).toBeGreaterThan(refused);
        await page.waitForFunction('state.status === "reconnecting"');
        await tailrace.startAgain();
        await pointsPast(before + 12);
        await page.waitForFunction(`state.reconnects >= ${kill} && state.status === "live"`);
      }

      example.signal('SIGTERM');
      const published = Number(
        await example.until(output => /(\d+) ticks published, 0 unsent/.exec(output)?.[1], 'its total'),
      );
      expect(await example.ended()).toBe(0);
      await pointsPast(published - 2);

      const series = new Map(
        Object.entries(await page.evaluate<Record<string, Point[]>>('Object.fromEntries(series)')),
      );
      const everyTick = Array.from({ length: published }, (_, tick) => tick);
      for (const [topic, points] of series) expect([topic, points.map(({ tick }) => tick)]).toEqual([topic, everyTick]);
      expect(series.size).toBeGreaterThanOrEqual(20);
      expect([...series.keys()]).toContainEqual(expect.stringMatching(/^host\/[^/]+\/cpu\/0$/));
      expect(await page.evaluate('state')).toMatchObject({ holes: 0, doubles: 0, recovered: true, reconnects: kills });
      expect(proxy.lost).toBeGreaterThanOrEqual(2);
      // some were measured while the server was away and stored when it was back: the kills were real
      const waits = [...series.values()].flat().map(({ at, time }) => time - at);
      expect(Math.max(...waits)).toBeGreaterThan(100);
    },
    4 * patienceMs,
  );

  it('shows a moving line on every chart', async () => {
    const empty = await page.evaluate<string[]>(`[...document.querySelectorAll('.card')].filter(card => {
      const canvas = card.querySelector('canvas');
      const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
      const colours = [...card.querySelectorAll('.legend i')].map(swatch =>
        getComputedStyle(swatch).backgroundColor.match(/\\d+/g).map(Number));
      for (let i = 0; i < data.length; i += 4)
        if (colours.some(colour => colour.every((part, at) => data[i + at] === part))) return false;
      return true;
    }).map(card => card.querySelector('h3').textContent)`);
    expect(empty).toEqual([]);
    expect(await page.locator('.card').count()).toBeGreaterThanOrEqual(6);
  });

  /** Waits until every series has a point with a tick beyond `tick`. */
  async function pointsPast(tick: number): Promise<void> {
    await page.waitForFunction(`series.size > 0 && [...series.values()].every(points => points.at(-1).tick > ${tick})`);
  }

  function newestTick(): Promise<number> {
    return page.evaluate<number>('Math.max(...[...series.values()].map(points => points.at(-1).tick))');
  }
});
