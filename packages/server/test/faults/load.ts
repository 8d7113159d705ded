import { once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';

/** How long a publish waits for its answer, ms: longer than the server's own deadline. */
const answerWithin = 8000;
const pause = 20;

/** Publishes numbered messages one after another, each with its id until it is acked, as a backend does. */
export class FaultPublisher {
  readonly acked: Map<string, number> = new Map();
  /** When the first answer came that was no ack, since it was last set to 0, and the newest ack, ms. */
  refusedAt = 0;
  ackedAt = 0;
  /** Codes of the answers that were no acks. */
  readonly refusals: Map<string, number> = new Map();
  readonly #urls: readonly string[];
  #stopped = false;
  readonly #running: Promise<void>;

  /** Goes on at the next of `urls` when one does not take a message. */
  constructor(urls: readonly string[], name: string) {
    this.#urls = urls;
    this.#running = this.#run(name);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#running;
  }

  async #run(name: string): Promise<void> {
    let at = 0;
    for (let i = 0; !this.#stopped; i++) {
      const id = `${name}-${i}`;
      for (;;) {
        const code = await this.#publish(this.#urls[at % this.#urls.length]!, name, id);
        if (code === undefined) break;
        this.refusals.set(code, (this.refusals.get(code) ?? 0) + 1);
        if (this.refusedAt === 0) this.refusedAt = performance.now();
        at++;
        await new Promise(resolve => setTimeout(resolve, pause));
      }
    }
  }

  /** The code of the refusal, undefined after an ack. */
  async #publish(url: string, name: string, id: string): Promise<string | undefined> {
    try {
      const response = await fetch(`${url}/v1/topics/load/${name}?id=${id}`, {
        method: 'POST',
        body: id,
        signal: AbortSignal.timeout(answerWithin),
      });
      const answer = (await response.json()) as { offset?: number; code?: string };
      if (!response.ok) return answer.code ?? String(response.status);
      this.acked.set(id, answer.offset!);
      this.ackedAt = performance.now();
      return undefined;
    } catch (error) {
      return (error as Error).name;
    }
  }
}

/** Follows a filter over SSE through whatever happens, by its last cursor, and keeps what it got as an SDK would. */
export class FaultSubscriber {
  /** Payload of each message by log position. */
  readonly got: Map<string, string> = new Map();
  /** Messages that came a second time over the wire, and records that were in the log twice. */
  repeated = 0;
  resets = 0;
  reconnects = 0;
  receivedAt = 0;
  readonly #urls: readonly string[];
  #cursor: string | undefined;
  #stopped = false;
  #response: IncomingMessage | undefined;
  readonly #running: Promise<void>;

  constructor(urls: readonly string[]) {
    this.#urls = urls;
    this.#running = this.#run();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#response?.destroy();
    await this.#running;
  }

  async #run(): Promise<void> {
    for (let at = 0; !this.#stopped; at++) {
      try {
        await this.#follow(this.#urls[at % this.#urls.length]!);
      } catch {
        // the next one, or the same again
      }
      this.reconnects++;
      await new Promise(resolve => setTimeout(resolve, pause));
    }
  }

  async #follow(url: string): Promise<void> {
    const from = this.#cursor === undefined ? 'from=earliest' : '';
    const request = get(`${url}/v1/sse?filter=load/%23&${from}`, {
      headers: this.#cursor === undefined ? {} : { 'last-event-id': this.#cursor },
    });
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    this.#response = response;
    let rest = '';
    for await (const chunk of response.setEncoding('utf8')) {
      const blocks = (rest + String(chunk)).split('\n\n');
      rest = blocks.pop()!;
      for (const block of blocks) this.#take(block);
    }
  }

  #take(block: string): void {
    const fields = new Map(block.split('\n').map(line => line.split(/: ?(.*)/s).slice(0, 2) as [string, string]));
    this.#cursor = fields.get('id') ?? this.#cursor;
    const data = fields.get('data');
    if (data === undefined) return;
    if (fields.get('event') === 'tailrace') {
      if (data.includes('"reset"')) this.resets++;
      return;
    }
    this.receivedAt = performance.now();
    const { offset, id } = JSON.parse(data) as { offset: number; id: string };
    const epoch = this.#cursor!.split('.')[1]!;
    const place = `${epoch} ${offset}`;
    if (this.got.has(place)) this.repeated++;
    this.got.set(place, id);
  }
}
