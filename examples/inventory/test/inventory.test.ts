import { fileURLToPath } from 'node:url';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { runCli } from '../../../packages/server/test/cli/cli-process.ts';
import { Served } from '../../../packages/server/test/cli/served.ts';
import { describeInBrowser, launchChromium } from '../../../test/browser/chromium.ts';
import { Terminal } from '../../../test/docs/terminal.ts';

const directory = fileURLToPath(new URL('..', import.meta.url));
const config = fileURLToPath(new URL('../tailrace.yaml', import.meta.url));
const patienceMs = 60_000;
/** So little that the log has segments to compact. */
const small = ['--segment.bytes', '64KiB', '--hot.bytes', '64KiB', '--limits.message', '16KiB'];

interface Row {
  readonly offset: number;
  readonly stock: number;
}

describeInBrowser('inventory', () => {
  let tailrace: Served;
  let example: Terminal;
  let browser: Browser;
  let address: string;
  let page: Page;

  beforeAll(async () => {
    tailrace = await Served.start(['--config', config, ...small]);
    example = new Terminal(`exec '${process.execPath}' serve.ts`, {
      cwd: directory,
      env: { ...process.env, TAILRACE_URL: tailrace.url, PORT: '0' },
    });
    address = await example.until(output => /inventory at (\S+\/),/.exec(output)?.[1], 'its address');
    browser = await launchChromium();
    page = await openPage();
  });

  afterAll(async () => {
    await browser?.close();
    await example?.[Symbol.asyncDispose]();
    await tailrace?.[Symbol.asyncDispose]();
  });

  it('shows the rows, and what the shop sells', async () => {
    await page.waitForFunction('globalThis.stock?.rows.size === 6 && stock.changes > 10');
    await settled();
    expect(await page.locator('#rows tr').count()).toBe(6);
  });

  it(
    'is the same table after a reload and after the server was killed',
    async () => {
      await page.reload();
      await page.waitForFunction('globalThis.stock?.status === "live" && stock.rows.size === 6');
      expect(await tailrace.kill('SIGKILL')).toBe('SIGKILL');
      await page.waitForFunction('globalThis.stock?.status === "reconnecting"');
      const before = await page.evaluate<number>('stock.changes');
      await tailrace.startAgain();
      // the stream goes on, and the shop sells again
      await page.waitForFunction(
        `globalThis.stock?.status === "live" && stock.resumed === 1 && stock.changes > ${before + 3}`,
      );
      const other = await openPage();
      await other.waitForFunction('globalThis.stock?.status === "live" && stock.rows.size === 6');
      await other.close();
      await settled();
    },
    2 * patienceMs,
  );

  it(
    'is the same table while the log is compacted under it, after that, and after a reload',
    async () => {
      const compacted = (): number => tailrace.process.stderr.split('"kind":"compaction"').length - 1;
      // most of it is replaced at once; a row that has come and gone is a deletion that stays
      await restock(3000);
      const before = compacted();
      // the server compacts of its own once a minute
      await tailrace.process.until(() => compacted() > before);
      await settled();
      await page.reload();
      await page.waitForFunction('globalThis.stock?.status === "live" && stock.rows.size === 6');
      await settled();

      await restock(2000);
      expect(await tailrace.kill('SIGTERM')).toBe(0);
      await page.waitForFunction('globalThis.stock?.status === "reconnecting"');
      const { code, stdout } = await runCli(['log', 'compact', tailrace.data, '--config', config]);
      expect(code).toBe(0);
      expect(Number(/^(\d+) of \d+ segments rewritten/m.exec(stdout)?.[1])).toBeGreaterThan(0);
      await tailrace.startAgain();
      await page.waitForFunction('globalThis.stock?.status === "live"');
      await settled();
      expect(await page.locator('#rows tr').count()).toBe(6);
      await page.reload();
      await page.waitForFunction('globalThis.stock?.status === "live" && stock.rows.size === 6');
      await settled();
    },
    4 * patienceMs,
  );

  it('adds a row once, and removes it everywhere', async () => {
    const form = page.locator('#add');
    const add = async (): Promise<void> => {
      for (const [name, value] of [
        ['warehouse', 'porto'],
        ['sku', 'cup-blue'],
        ['name', 'Blue cup'],
        ['count', '3'],
      ])
        await form.locator(`[name=${name}]`).fill(value!);
      await form.getByRole('button').click();
    };
    await add();
    await page.waitForFunction('globalThis.stock?.rows.has("porto cup-blue")');
    await add();
    await page.waitForFunction('document.getElementById("message").textContent === "porto has cup-blue already."');
    const other = await openPage();
    await other.waitForFunction('globalThis.stock?.status === "live" && stock.rows.has("porto cup-blue")');
    await other.locator('[data-id="porto cup-blue"] .remove').click();
    for (const each of [page, other]) await each.waitForFunction('!globalThis.stock?.rows.has("porto cup-blue")');
    await other.reload();
    await other.waitForFunction('globalThis.stock?.status === "live" && stock.rows.size === 6');
    await settled();
  });

  it('tells who edits a row that somebody else has changed, and overwrites nothing unasked', async () => {
    example.signal('SIGTERM');
    await example.until(output => /\d+ sold, \d+ tried again/.exec(output)?.[0], 'its totals');
    await settled();
    const row = page.locator('[data-id="berlin pot-iron"]');
    const conflict = row.locator('.conflict');
    await row.locator('input').fill('500');
    expect(await publish('pot-iron', { name: 'Iron teapot', stock: 7 })).toBe(200);
    await page.waitForFunction('globalThis.stock?.rows.get("berlin pot-iron").stock === 7');
    // what is typed stays
    expect(await row.locator('input').inputValue()).toBe('500');
    await row.getByRole('button', { name: 'Save', exact: true }).click();
    await conflict.waitFor();
    expect(await conflict.locator('span').textContent()).toBe('Somebody set it to 7 meanwhile.');
    expect((await stateOf())['berlin pot-iron']!.stock).toBe(7);

    await row.getByRole('button', { name: 'Keep theirs' }).click();
    await conflict.waitFor({ state: 'hidden' });
    expect(await row.locator('input').inputValue()).toBe('7');
    await row.locator('input').fill('8');
    await row.getByRole('button', { name: 'Save', exact: true }).click();
    await page.waitForFunction('globalThis.stock?.rows.get("berlin pot-iron").stock === 8');
    expect(await conflict.isVisible()).toBe(false);
    await settled();
  });

  async function openPage(): Promise<Page> {
    const opened = await browser.newPage();
    opened.setDefaultTimeout(patienceMs);
    await opened.goto(address);
    await opened.waitForFunction('globalThis.stock !== undefined');
    return opened;
  }

  function rowsOf(of: Page): Promise<Record<string, Row>> {
    return of.evaluate<Record<string, Row>>('Object.fromEntries(stock.rows)');
  }

  /** The rows as the server has them. */
  async function stateOf(): Promise<Record<string, Row>> {
    const response = await fetch(`${tailrace.url}/v1/state?filter=inventory/%2B`);
    const lines = (await response.text()).trim().split('\n').slice(0, -1);
    return Object.fromEntries(
      lines.map(line => {
        const { topic, key, offset, data } = JSON.parse(line);
        const warehouse = topic.slice('inventory/'.length);
        return [`${warehouse} ${key}`, { warehouse, sku: key, offset, ...data }];
      }),
    );
  }

  /** Waits until the page shows what the server has. */
  async function settled(): Promise<void> {
    await expect
      .poll(async () => JSON.stringify(sorted(await rowsOf(page))) === JSON.stringify(sorted(await stateOf())), {
        timeout: patienceMs,
      })
      .toBe(true);
  }

  /** Sets the stock of a row of each warehouse so many times, and puts up and removes another as often. */
  async function restock(times: number): Promise<void> {
    const lines = Array.from({ length: times }, (_, i) => [
      { topic: 'inventory/berlin', key: 'pot-iron', data: { name: 'Iron teapot', stock: 100 + (i % 50) } },
      { topic: 'inventory/porto', key: 'cup-white', data: { name: 'White cup', stock: 100 + (i % 40) } },
      { topic: 'inventory/porto', key: 'cup-gone', ...(i % 2 === 0 ? { data: { name: 'Gone', stock: 1 } } : {}) },
    ]).flat();
    const response = await fetch(`${tailrace.url}/v1/publish`, {
      method: 'POST',
      headers: { 'content-type': 'application/x-ndjson' },
      body: lines.map(line => `${JSON.stringify(line)}\n`).join(''),
    });
    expect(await response.text()).toContain(`"accepted":${lines.length}`);
  }

  async function publish(sku: string, data: object): Promise<number> {
    const response = await fetch(`${tailrace.url}/v1/topics/inventory/berlin?key=${sku}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(data),
    });
    return response.status;
  }
});

function sorted(rows: Record<string, Row>): [string, Row][] {
  return Object.entries(rows).sort(([a], [b]) => (a < b ? -1 : 1));
}
