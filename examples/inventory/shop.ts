// A shop that sells from the inventory, twice a second. `node shop.ts`, or through serve.ts.
import { setTimeout as sleep } from 'node:timers/promises';

const saleEveryMs = 500;

/** What there is at the beginning: warehouse, sku, name, how many. */
const assortment = [
  ['berlin', 'tea-assam', 'Assam', 120],
  ['berlin', 'tea-sencha', 'Sencha', 80],
  ['berlin', 'pot-iron', 'Iron teapot', 12],
  ['porto', 'tea-assam', 'Assam', 60],
  ['porto', 'tea-mint', 'Mint', 200],
  ['porto', 'cup-white', 'White cup', 48],
] as const;

interface Stock {
  readonly name: string;
  readonly stock: number;
}

interface Row {
  readonly offset: number;
  readonly data: Stock;
}

/**
 * Each row is a key of the topic of its warehouse. A sale is decided by the row as it is known, and published on the
 * condition that it still is the newest: whoever was faster is never overwritten.
 */
export class Shop {
  readonly #url: string;
  readonly #stopping = new AbortController();
  readonly #running: Promise<void>;
  #sold = 0;
  #retried = 0;

  constructor(tailrace: string) {
    this.#url = tailrace.endsWith('/') ? tailrace : `${tailrace}/`;
    this.#running = this.#run();
  }

  async stop(): Promise<{ sold: number; retried: number }> {
    this.#stopping.abort();
    await this.#running;
    return { sold: this.#sold, retried: this.#retried };
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    let open = false;
    for (let away = false; !signal.aborted; ) {
      try {
        if (!open) await this.#open();
        open = true;
        await this.#sell();
        if (away) console.log('selling again');
        away = false;
      } catch (error) {
        if (error instanceof Refused) throw error;
        if (!away) console.log(`no answer from ${this.#url}; the shop waits until it is back`);
        away = true;
      }
      await sleep(saleEveryMs, undefined, { signal }).catch(() => undefined);
    }
  }

  /** Puts in what was never there; what is there stays as it is, also when the shop starts again. */
  async #open(): Promise<void> {
    for (const [warehouse, sku, name, stock] of assortment)
      await this.#publish(warehouse, sku, 'absent', { name, stock });
  }

  async #sell(): Promise<void> {
    const [warehouse, sku] = assortment[Math.floor(Math.random() * assortment.length)]!;
    let row = await this.#read(warehouse, sku);
    while (row !== undefined && row.data.stock > 0) {
      const { name, stock } = row.data;
      const taken = await this.#publish(warehouse, sku, String(row.offset), { name, stock: stock - 1 });
      if (taken === true) {
        this.#sold++;
        return;
      }
      this.#retried++;
      row = taken;
    }
  }

  /** The row, unless it was removed. */
  async #read(warehouse: string, sku: string): Promise<Row | undefined> {
    const query = new URLSearchParams({ filter: `inventory/${warehouse}`, key: sku });
    const response = await fetch(`${this.#url}v1/state?${query}`, { signal: AbortSignal.timeout(5000) });
    const lines = (await response.text()).trimEnd().split('\n');
    if (!response.ok || lines.length < 2) return undefined;
    return JSON.parse(lines[0]!) as Row;
  }

  /** True when it was taken, else the row that is there instead. */
  async #publish(warehouse: string, sku: string, expect: string, data: Stock): Promise<true | Row | undefined> {
    const query = new URLSearchParams({ key: sku, expect });
    const response = await fetch(`${this.#url}v1/topics/inventory/${warehouse}?${query}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(data),
      signal: AbortSignal.timeout(5000),
    });
    if (response.ok) return true;
    const problem = (await response.json()) as { code: string; retry: string; detail: string; current?: Row | null };
    if (problem.code === 'expect_failed') return problem.current ?? undefined;
    if (problem.retry !== 'later') throw new Refused(problem.detail);
    throw new Error(problem.detail);
  }
}

class Refused extends Error {}

if (import.meta.main) {
  const shop = new Shop(process.env.TAILRACE_URL ?? 'http://127.0.0.1:4080');
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => void shop.stop());
}
