import type { FaultyProxy } from '../engines/faulty-proxy.ts';
import type { Fault, FaultStage } from './run.ts';

/** A server of the engine, which can be hurt. */
export interface Breakable {
  start(): Promise<void>;
  stop(signal?: NodeJS.Signals): Promise<void>;
  signal(signal: NodeJS.Signals): void;
}

/** Both nodes reach the engine through proxies, or the first of them does. */
export interface CommonStage extends FaultStage {
  readonly server: Breakable;
  readonly proxies: readonly FaultyProxy[];
}

/** What may happen to any engine, which people call `name`. */
export function commonFaults<Stage extends CommonStage>(name: string, prepare: () => Promise<Stage>): Fault<Stage>[] {
  return [
    {
      name: `kill -9 of ${name}, started again after 3 s`,
      prepare,
      lasts: 3000,
      strike: ({ server }) => server.stop('SIGKILL'),
      heal: ({ server }) => server.start(),
    },
    {
      name: `${name} restarted by SIGTERM`,
      prepare,
      lasts: 500,
      strike: ({ server }) => server.stop(),
      heal: ({ server }) => server.start(),
    },
    {
      name: `${name} stopped (SIGSTOP) for 20 s`,
      prepare,
      lasts: 20_000,
      strike: async ({ server }) => server.signal('SIGSTOP'),
      heal: async ({ server }) => server.signal('SIGCONT'),
    },
    {
      name: 'the network of one server silent for 10 s',
      prepare,
      lasts: 10_000,
      strike: async ({ proxies }) => proxies[0]!.stall(),
      heal: async ({ proxies }) => proxies[0]!.resume(),
    },
    {
      name: 'answers lost for 2 s, then all connections reset',
      prepare,
      lasts: 2000,
      strike: async ({ proxies }) => {
        for (const proxy of proxies) proxy.swallowAnswers = true;
      },
      heal: async ({ proxies }) => {
        for (const proxy of proxies) {
          proxy.swallowAnswers = false;
          proxy.cut();
        }
      },
    },
    {
      name: 'all connections reset',
      prepare,
      lasts: 0,
      strike: async ({ proxies }) => {
        for (const proxy of proxies) proxy.cut();
      },
      heal: async () => {},
    },
    {
      name: 'kill -9 of one server, started again after 2 s',
      prepare,
      lasts: 2000,
      strike: async (_, [a]) => void (await a.kill('SIGKILL')),
      heal: (_, [a]) => a.startAgain(),
    },
  ];
}
