import type { Browser, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { Served } from '../../packages/server/test/cli/served.ts';
import { describeInBrowser, launchChromium } from './chromium.ts';

interface Row {
  readonly topic: string;
  readonly data: string;
  readonly offset: number;
  readonly recovered: boolean;
}

describeInBrowser('the live page', () => {
  let tailrace: Served;
  let browser: Browser;
  let page: Page;
  /** What the browser complained of: refused by the content security policy, not found, thrown. */
  let complaints: string[];

  beforeAll(async () => {
    browser = await launchChromium();
  });

  beforeEach(async () => {
    tailrace = await Served.start();
    page = await browser.newPage();
    complaints = [];
    page.on('console', message => {
      if (message.type() === 'error' || message.type() === 'warning') complaints.push(message.text());
    });
    page.on('pageerror', error => complaints.push(String(error)));
    await page.goto(tailrace.url);
    await status('live');
  });

  afterEach(async () => {
    await page.close();
    await tailrace[Symbol.asyncDispose]();
  });

  afterAll(() => browser?.close());

  it('shows what is published from its box, and the connection itself', async () => {
    await page.fill('#topic', 'greetings/å b');
    await page.fill('#data', '{"hello": "<b>world</b>"}');
    await page.click('#publish-form button');
    await rowCount(1);
    expect(await rows()).toEqual([
      { topic: 'greetings/å b', data: '{"hello":"<b>world</b>"}', offset: 1, recovered: false },
    ]);
    await until(`document.getElementById('connections').textContent === '1'`);
    await until(`document.getElementById('published-total').textContent === '#1 newest'`);
    expect(await page.textContent('#published-as')).toMatch(/^stored as #1 in/);
    expect(complaints).toEqual([]);
  });

  it('says what is wrong with a topic and a filter, and goes on', async () => {
    await page.fill('#topic', 'a//b');
    await page.click('#publish-form button');
    await page.waitForSelector('#published-as.error');
    expect(await page.textContent('#published-as')).toContain('empty level');

    await page.fill('#filter', 'a/#/b');
    await page.click('#filter-form button');
    await page.waitForSelector('#filter-error:not([hidden])');
    expect(await page.textContent('#filter-error')).toContain('#');

    await page.fill('#filter', 'news/+');
    await page.click('#filter-form button');
    await status('live');
    await publish('other/a', 1);
    await publish('news/a', 2);
    await rowCount(1);
    expect((await rows()).map(({ topic }) => topic)).toEqual(['news/a']);
    await page.waitForSelector('#filter-error', { state: 'hidden' });
  });

  it('shows only what the filter matches after it was changed, also what came before', async () => {
    for (let n = 1; n <= 3; n++) {
      await publish('news/a', n);
      await publish('other/a', n);
    }
    await rowCount(6);
    await page.fill('#filter', 'news/+');
    await page.click('#filter-form button');
    await until(`document.querySelector('.message[data-topic="other/a"]') === null`);
    await status('live');
    await publish('other/a', 4);
    await publish('news/a', 4);
    await rowCount(4);
    expect((await rows()).map(({ topic, data }) => [topic, data])).toEqual(
      ['1', '2', '3', '4'].map(data => ['news/a', data]),
    );

    await page.fill('#filter', 'nobody/#');
    await page.click('#filter-form button');
    await until(`document.getElementById('empty-text').textContent === 'Nothing that matches nobody/# yet.'`);
    await page.waitForSelector('#empty');
    expect(await rows()).toEqual([]);
    expect(complaints).toEqual([]);
  });

  it('goes on with its filter when the new one is refused', async () => {
    await publish('news/a', 1);
    await rowCount(1);
    await page.fill('#filter', 'a/#/b');
    await page.click('#filter-form button');
    await page.waitForSelector('#filter-error:not([hidden])');
    expect(await page.textContent('#filter-error')).toMatch(/so it can only be the last level; still reading #$/);
    await publish('news/a', 2);
    await rowCount(2);
    expect((await rows()).map(({ data }) => data)).toEqual(['1', '2']);
  });

  it('shows the messages missed during a cut once each, in order, after resuming', async () => {
    await publish('a/1', 'before');
    await rowCount(1);
    await page.click('#cut');
    await until(`document.getElementById('status').textContent === 'cut'`);
    for (let n = 1; n <= 40; n++) await publish(`a/${n % 3}`, n);
    await until(`document.getElementById('missed').textContent === '40'`);
    expect(await rows()).toHaveLength(1);

    await page.click('#cut');
    await page.waitForSelector('#check:not([hidden])');
    await publish('a/1', 'after');
    await rowCount(42);
    expect(await page.textContent('#check')).toBe(
      'missed 40 · recovered 40 · doubles 0 · gaps 0 · in order · recovered: true',
    );
    const expected = ['"before"', ...Array.from({ length: 40 }, (_, n) => String(n + 1)), '"after"'];
    expect(await rows()).toMatchObject(
      expected.map((data, n) => ({ data, offset: n + 1, recovered: n > 0 && n < 41 })),
    );
    expect(complaints).toEqual([]);
  });

  it('goes on from the cut with the filter that was set meanwhile', async () => {
    await page.click('#cut');
    await publish('a/1', 1);
    await until(`document.getElementById('missed').textContent === '1'`);
    await page.fill('#filter', 'b/#');
    await page.click('#filter-form button');
    await until(`document.getElementById('missed').textContent === '0'`);
    await publish('b/1', 2);
    await publish('a/1', 3);
    await until(`document.getElementById('missed').textContent === '1'`);
    await page.click('#cut');
    await page.waitForSelector('#check.good');
    expect(await page.textContent('#check')).toMatch(/^missed 1 · recovered 1 · /);
    expect(await rows()).toMatchObject([{ topic: 'b/1', data: '2', recovered: true }]);
  });

  it('resumes by itself when the server is killed and started again', async () => {
    await publish('a/1', 1);
    await rowCount(1);
    await tailrace.kill('SIGKILL');
    await status('reconnecting');
    await tailrace.startAgain();
    await publish('a/1', 2);
    await rowCount(2);
    await status('live');
    await publish('a/1', 3);
    await rowCount(3);
    expect((await rows()).map(({ data }) => data)).toEqual(['1', '2', '3']);
  });

  it('sends sample messages from a button, and shows them again after a reload', async () => {
    await page.click('#empty [data-demo]');
    await until(`document.querySelectorAll('.message[data-topic="demo/clock"]').length >= 2`);
    await page.reload();
    await status('live');
    await until(`document.querySelectorAll('.message.earlier').length >= 5`);
    const offsets = (await rows()).map(({ offset }) => offset);
    expect(offsets).toEqual(offsets.map((_, n) => n + 1));
    expect(complaints).toEqual([]);
  });

  async function publish(topic: string, data: unknown): Promise<void> {
    const response = await fetch(`${tailrace.url}/v1/topics/${topic}`, { method: 'POST', body: JSON.stringify(data) });
    expect(response.status).toBe(200);
  }

  async function status(word: string): Promise<void> {
    await until(`document.getElementById('status').textContent === '${word}'`);
  }

  /** Waits until an expression is true. Not by waitForFunction: the page's content security policy forbids its eval. */
  async function until(expression: string): Promise<void> {
    await expect.poll(() => page.evaluate(expression), { timeout: 20_000, message: expression }).toBe(true);
  }

  async function rowCount(count: number): Promise<void> {
    await until(`document.querySelectorAll('.message').length >= ${count}`);
  }

  function rows(): Promise<Row[]> {
    return page.evaluate<Row[]>(`[...document.querySelectorAll('.message')].map(row => ({
      topic: row.dataset.topic,
      data: row.querySelector('.data').textContent,
      offset: Number(row.dataset.offset),
      recovered: row.classList.contains('recovered'),
    }))`);
  }
});
