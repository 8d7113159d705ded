import type { Environment } from './environment.ts';

/** A probe that takes longer is over, ms. */
const probeMost = 2000;
/** An endpoint that answers later than this is slow, ms. */
const slow = 200;
/** Failures in a row after which others are looked at. */
const failuresMost = 2;
/** ms between two looks at the others, while connected. */
const lookEvery = 60_000;
/** Looks in a row in which another has to be better, so that nobody goes to and fro. */
const looksNeeded = 3;

interface Probed {
  readonly url: string;
  readonly ms: number;
}

/** Several servers or regions of which any will do: the fastest that answers, for as long as it works. */
export class Endpoints {
  readonly #urls: readonly string[];
  readonly #environment: Environment;
  #current: string | undefined;
  #failures = 0;
  /** One that was better in the looks before. */
  #better: { readonly url: string; readonly times: number } | undefined;

  constructor(urls: readonly string[], environment: Environment, worked: string | undefined) {
    this.#urls = urls;
    this.#environment = environment;
    this.#current = urls.length === 1 ? urls[0] : urls.find(url => url === worked);
  }

  get current(): string | undefined {
    return this.#current;
  }

  /** ms until `look` makes sense; undefined where there is nothing to look at. */
  get lookIn(): number | undefined {
    return this.#urls.length === 1 ? undefined : lookEvery;
  }

  /** Where to connect: what is known to work, else the fastest of those that answer, else the next. */
  choose(): string | Promise<string> {
    const current = this.#current;
    if (current !== undefined && (this.#urls.length === 1 || this.#failures < failuresMost)) return current;
    return this.#probeAll().then(([fastest]) => {
      this.#failures = 0;
      this.#current = fastest?.url ?? this.#urls[(this.#urls.indexOf(current ?? '') + 1) % this.#urls.length]!;
      return this.#current;
    });
  }

  failed(): void {
    this.#failures++;
  }

  worked(): void {
    this.#failures = 0;
  }

  /** Whether to move: another has answered at least twice as fast as a slow one, three looks in a row. */
  async look(): Promise<boolean> {
    const probed = await this.#probeAll();
    const [fastest] = probed;
    const here = probed.find(({ url }) => url === this.#current);
    const isBetter =
      fastest !== undefined && here !== undefined && fastest !== here && here.ms > slow && fastest.ms * 2 < here.ms;
    if (!isBetter) {
      this.#better = undefined;
      return false;
    }
    const times = this.#better?.url === fastest.url ? this.#better.times + 1 : 1;
    this.#better = { url: fastest.url, times };
    if (times < looksNeeded) return false;
    this.#better = undefined;
    this.#current = fastest.url;
    return true;
  }

  /** Those that answer, the fastest first. */
  async #probeAll(): Promise<readonly Probed[]> {
    const probed = await Promise.all(this.#urls.map(url => this.#probe(url)));
    return probed.filter(each => each !== undefined).sort((a, b) => a.ms - b.ms);
  }

  async #probe(url: string): Promise<Probed | undefined> {
    const { fetch, now, after } = this.#environment;
    const abort = new AbortController();
    const stop = after(probeMost, () => abort.abort());
    const began = now();
    try {
      // the application, not a proxy before it, says what it is
      const response = await fetch(`${url}/v1`, { cache: 'no-store', signal: abort.signal });
      const { server } = (await response.json()) as { readonly server?: unknown };
      return response.ok && server !== undefined ? { url, ms: now() - began } : undefined;
    } catch {
      return undefined;
    } finally {
      stop();
    }
  }
}
