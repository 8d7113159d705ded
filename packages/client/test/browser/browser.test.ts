import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { rolldown } from 'rolldown';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { describeInBrowser, launchChromium } from '../../../../test/browser/chromium.ts';
import { Served } from '../../../server/test/cli/served.ts';
import { until } from '../../../server/test/log/messages.ts';

const patience = 60_000;

describeInBrowser('the client in a browser', () => {
  let site: Server;
  let browser: Browser;
  let tailrace: Served;
  let context: BrowserContext;

  beforeAll(async () => {
    const bundle = await rolldown({ input: new URL('page.ts', import.meta.url).pathname, platform: 'browser' });
    const { output } = await bundle.generate({ format: 'esm' });
    site = createServer((req, res) => {
      const isScript = req.url === '/page.js';
      res.setHeader('content-type', isScript ? 'text/javascript' : 'text/html');
      res.end(
        isScript
          ? output[0].code
          : '<!doctype html><title>client</title><script type="module" src="/page.js"></script>',
      );
    }).listen(0, '127.0.0.1');
    await once(site, 'listening');
    browser = await launchChromium();
  });

  beforeEach(async () => {
    tailrace = await Served.start();
    context = await browser.newContext();
  });

  afterEach(async () => {
    await context.close();
    await tailrace[Symbol.asyncDispose]();
  });

  afterAll(async () => {
    await browser?.close();
    site.close();
  });

  /** It is connected, and keeps its cursor: the page before it is gone. */
  async function ready(page: Page): Promise<void> {
    await page.waitForFunction('globalThis.client?.state === "connected"');
    await page.waitForFunction(
      'navigator.locks.query().then(({ held }) => held.some(({ name }) => name.includes(":numbers") || /:[0-2]$/.test(name)))',
    );
  }

  /** A page that reads `numbers`. */
  async function open(parameters = ''): Promise<Page> {
    const page = await context.newPage();
    const { port } = site.address() as AddressInfo;
    await page.goto(`http://127.0.0.1:${port}/?server=${encodeURIComponent(tailrace.url)}${parameters}`);
    await ready(page);
    return page;
  }

  async function publish(from: number, to: number): Promise<void> {
    const lines = Array.from({ length: to - from }, (_, i) => `{"topic":"numbers","data":${from + i}}\n`);
    const response = await fetch(`${tailrace.url}/v1/publish`, {
      method: 'POST',
      headers: { 'content-type': 'application/x-ndjson' },
      body: lines.join(''),
    });
    await response.text();
  }

  /** What it was given over all its reloads. */
  async function given(page: Page): Promise<number[]> {
    const text = await page.evaluate<string>('sessionStorage.given ?? ""').catch(() => '');
    return text.split(' ').slice(1).map(Number);
  }

  const has = (page: Page, count: number): Promise<void> =>
    until(`${count} came`, async () => (await given(page)).length >= count);
  const upTo = (n: number): number[] => Array.from({ length: n }, (_, i) => i);

  async function connections(): Promise<number> {
    const { sessions } = (await (await fetch(`${tailrace.url}/v1/sessions?topic=numbers`)).json()) as {
      sessions: unknown[];
    };
    return sessions.length;
  }

  it(
    'reloaded in mid-stream, left and come back to: each message once, in order',
    async () => {
      const page = await open();
      let sent = 0;
      for (let round = 0; round < 4; round++) {
        await publish(sent, (sent += 500));
        await has(page, sent - 400);
        await page.reload();
        await ready(page);
        await publish(sent, (sent += 100));
        if (round % 2 === 0) {
          await page.goto('about:blank');
          await publish(sent, (sent += 100));
          await page.goBack();
          await ready(page);
        }
      }
      await has(page, sent);
      expect(await given(page)).toEqual(upTo(sent));
    },
    patience,
  );

  it(
    'offline: what is published here waits, what is published there is missed, and both come once',
    async () => {
      const page = await open();
      await publish(0, 10);
      await has(page, 10);
      await context.setOffline(true);
      await page.evaluate('client.publish("numbers", 30); client.publish("numbers", 31); 0');
      await publish(10, 30);
      await context.setOffline(false);
      await has(page, 32);
      expect(await given(page)).toEqual(upTo(32));
      // closed before anything could be sent
      await context.setOffline(true);
      await page.evaluate('client.publish("numbers", 32); client.publish("numbers", 33); 0');
      await page.evaluate('dispatchEvent(new Event("pagehide"))');
      await page.close();
      await context.setOffline(false);
      const again = await open();
      await has(again, 2);
      expect(await given(again)).toEqual([32, 33]);
    },
    patience,
  );

  it(
    'three tabs share one connection; when the one that has it is closed another takes over',
    async () => {
      const pages = [await open('&share&name=0'), await open('&share&name=1'), await open('&share&name=2')];
      await publish(0, 100);
      for (const page of pages) await has(page, 100);
      expect(await connections()).toBe(1);
      let sent = 100;
      for (const page of pages.slice(0, 2)) {
        await page.close();
        await publish(sent, (sent += 100));
      }
      await pages[2]!.evaluate(`client.publish("numbers", ${sent})`);
      await has(pages[2]!, sent + 1);
      expect(await given(pages[2]!)).toEqual(upTo(sent + 1));
      expect(await connections()).toBe(1);
    },
    patience,
  );

  for (const transport of ['webSocket', 'sse', 'poll'])
    it(
      `by ${transport}, from a server of another origin that is killed and started again`,
      async () => {
        const page = await open(`&transport=${transport}`);
        await publish(0, 50);
        await has(page, 50);
        await tailrace.kill('SIGKILL');
        await page.evaluate('client.publish("numbers", 50); 0');
        await tailrace.startAgain();
        await has(page, 51);
        await publish(51, 60);
        await has(page, 60);
        expect(await given(page)).toEqual(upTo(60));
        expect(await page.evaluate('states')).toEqual(['connecting', 'connected', 'recovering', 'connected']);
      },
      patience,
    );
});
