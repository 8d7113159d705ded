import { matchFilter } from '@tailrace/protocol';
import type { Config } from './config/index.ts';
import type { GatewayOptions } from './gateway/index.ts';
import type { HubOptions } from './hub/index.ts';

/** What the hub takes of the settings. */
export function hubOptions(config: Config): Omit<HubOptions, 'log' | 'clock' | 'random' | 'onReadError'> {
  const { durability, rules, lag } = config;
  return {
    durability,
    durabilityRules: rules.flatMap(rule =>
      rule.durability === undefined ? [] : [{ filter: rule.filter, durability: rule.durability }],
    ),
    lagRules: rules.flatMap(rule => (rule.lag === undefined ? [] : [{ filter: rule.filter, ...rule.lag }])),
    lagTarget: lag.target,
    lagLimit: lag.limit,
    pinnedMax: config.pinned.max,
    stallMax: config.stall.max,
    publishDeadline: config.publish.deadline,
    heartbeat: config.heartbeat,
    subscriptionsMax: config.limits.subscriptions,
  };
}

/** Which topics may wait on this node while a shared engine is away. */
export function spoolRule({ rules }: Config): ((topic: string) => boolean) | undefined {
  const filters = rules.filter(({ spool }) => spool === true).map(({ filter }) => filter);
  return filters.length === 0 ? undefined : topic => filters.some(filter => matchFilter(filter, topic));
}

/** What the gateway takes of the settings. */
export function gatewayOptions(
  config: Config,
): Pick<GatewayOptions, 'frameMax' | 'heartbeat' | 'connectTimeout' | 'idleTimeout' | 'reconnectRate' | 'drainWindow'> {
  return {
    frameMax: config.limits.frame,
    heartbeat: {
      sse: config.sse.heartbeat ?? config.heartbeat,
      websocket: config.websocket.heartbeat ?? config.heartbeat,
    },
    connectTimeout: config.connect.timeout,
    idleTimeout: config.idle.timeout,
    reconnectRate: config.reconnect.rate,
    drainWindow: config.drain.window,
  };
}
