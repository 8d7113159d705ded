import { Served } from '../cli/served.ts';
import { until } from '../log/messages.ts';
import { FaultPublisher, FaultSubscriber } from './load.ts';

/** What two servers share, and what may happen to it. */
export interface FaultStage extends AsyncDisposable {
  /** The setting `engine` of each server. */
  readonly engines: readonly [string, string];
  /** Further flags of both. */
  readonly flags: readonly string[];
}

export interface Fault<Stage extends FaultStage = FaultStage> {
  readonly name: string;
  /** Why it cannot be made here; undefined when it can. */
  readonly impossible?: () => string | undefined;
  prepare(): Promise<Stage>;
  /** Begins the fault; resolves when it has. */
  strike(stage: Stage, nodes: readonly [Served, Served]): Promise<void>;
  /** How long it lasts, ms. */
  readonly lasts: number;
  /** Ends it. */
  heal(stage: Stage, nodes: readonly [Served, Served]): Promise<void>;
  /** Records that no replica had are lost, and said to be. */
  readonly losesAcked?: boolean;
}

export class FaultRow {
  readonly name: string;
  /** ms from the fault to the first refusal, and from its end to the first ack and the first delivery. */
  noticed: number | undefined;
  acksAgain = 0;
  deliversAgain = 0;
  acked = 0;
  /** Acked messages that a subscriber did not get. */
  lost = 0;
  /** Messages that are in the log more than once, or that a subscriber kept twice. */
  doubled = 0;
  reconnects = 0;
  resets = 0;
  refusals = '';
  readonly mayLose: boolean;

  constructor(name: string, mayLose: boolean) {
    this.name = name;
    this.mayLose = mayLose;
  }

  get holds(): boolean {
    return this.doubled === 0 && (this.lost === 0 || (this.mayLose && this.resets > 0));
  }

  static table(rows: readonly FaultRow[]): string {
    const seconds = (ms: number | undefined): string => (ms === undefined ? '–' : `${(ms / 1000).toFixed(1)} s`);
    const lines = rows.map(row =>
      [
        row.name,
        seconds(row.noticed),
        seconds(row.acksAgain),
        seconds(row.deliversAgain),
        row.acked,
        row.lost,
        row.doubled,
        row.reconnects,
        row.resets,
        row.refusals || '–',
      ].join(' | '),
    );
    return [
      '| fault | first refusal after | acks again after | delivers again after | acked | acked lost | doubled | reconnects | resets | refusals |',
      '|---|---|---|---|---|---|---|---|---|---|',
      ...lines.map(line => `| ${line} |`),
    ].join('\n');
  }
}

const warmUp = 1500;
const afterwards = 2000;

export async function runFault<Stage extends FaultStage>(fault: Fault<Stage>): Promise<FaultRow> {
  const row = new FaultRow(fault.name, fault.losesAcked === true);
  await using stage = await fault.prepare();
  const start = (engine: string): Promise<Served> =>
    Served.start(['--engine', engine, '--log.level', 'silent', ...stage.flags]);
  await using a = await start(stage.engines[0]);
  await using b = await start(stage.engines[1]);
  const urls = [a.url, b.url];
  const publishers = ['p', 'q', 'r', 's'].map((name, i) => new FaultPublisher([...urls.slice(i % 2), urls[0]!], name));
  const subscribers = [new FaultSubscriber(urls), new FaultSubscriber([...urls].reverse())];
  await sleep(warmUp);

  const struck = performance.now();
  for (const publisher of publishers) publisher.refusedAt = 0;
  await fault.strike(stage, [a, b]);
  await sleep(fault.lasts);
  const refused = Math.min(...publishers.map(({ refusedAt }) => refusedAt).filter(at => at > struck));
  row.noticed = Number.isFinite(refused) ? refused - struck : undefined;
  const healed = performance.now();
  await fault.heal(stage, [a, b]);
  await until('all publish again', () => publishers.every(({ ackedAt }) => ackedAt > healed), 60_000);
  row.acksAgain = Math.max(...publishers.map(({ ackedAt }) => ackedAt)) - healed;
  await until('all receive again', () => subscribers.every(({ receivedAt }) => receivedAt > healed), 60_000);
  row.deliversAgain = Math.max(...subscribers.map(({ receivedAt }) => receivedAt)) - healed;
  await sleep(afterwards);
  await Promise.all(publishers.map(publisher => publisher.stop()));

  const acked = new Set(publishers.flatMap(publisher => [...publisher.acked.keys()]));
  const newest = publishers.map(publisher => [...publisher.acked.keys()].pop()!);
  const hasAll = (subscriber: FaultSubscriber): boolean => {
    const got = new Set(subscriber.got.values());
    return newest.every(id => got.has(id));
  };
  await until('the newest have arrived', () => subscribers.every(hasAll), 30_000);
  await Promise.all(subscribers.map(subscriber => subscriber.stop()));
  row.acked = acked.size;
  for (const { got } of subscribers) {
    const ids = [...got.values()];
    const unique = new Set(ids);
    row.doubled += ids.length - unique.size;
    for (const id of acked) if (!unique.has(id)) row.lost++;
  }
  row.reconnects = subscribers.reduce((sum, { reconnects }) => sum + reconnects, 0);
  row.resets = subscribers.reduce((sum, { resets }) => sum + resets, 0);
  const refusals = new Map<string, number>();
  for (const publisher of publishers)
    for (const [code, count] of publisher.refusals) refusals.set(code, (refusals.get(code) ?? 0) + count);
  row.refusals = [...refusals].map(([code, count]) => `${count} ${code}`).join(', ');
  return row;
}

function sleep(ms: number): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, ms));
}
