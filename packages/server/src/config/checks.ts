import { isIP } from 'node:net';
import { capabilitiesOf, engineOf } from '../log/capabilities.ts';
import type { Config } from './config.ts';
import type { ConfigProblem } from './problem.ts';
import { formatDuration, formatSize } from './units.ts';

/** What no setting can know by itself: each message names both settings and both values. */
export function checkTogether(config: Config, sourceOf: (path: string) => string): ConfigProblem[] {
  const problems: ConfigProblem[] = [];
  const refuse = (path: string, message: string): void => {
    problems.push({ severity: 'error', path, source: sourceOf(path), message });
  };
  const warn = (path: string, message: string): void => {
    problems.push({ severity: 'warning', path, source: sourceOf(path), message });
  };

  if (!isLoopback(config.host) && !config.insecure) {
    refuse(
      'host',
      `host is "${config.host}": without authentication the server listens on loopback addresses only. ` +
        'Set insecure: true (--insecure, TAILRACE_INSECURE=true) if everyone who can reach the port may read and publish everything',
    );
  }
  for (const [name, heartbeat] of [
    ['heartbeat', config.heartbeat],
    ['sse.heartbeat', config.sse.heartbeat],
    ['websocket.heartbeat', config.websocket.heartbeat],
  ] as const) {
    if (heartbeat !== null && heartbeat >= config.stall.max) {
      refuse(
        name,
        `${name} is ${formatDuration(heartbeat)} and must be shorter than stall.max, ${formatDuration(config.stall.max)}`,
      );
    }
  }
  if (config.lag.target >= config.lag.limit) {
    refuse(
      'lag.target',
      `lag.target is ${formatDuration(config.lag.target)} and must be shorter than lag.limit, ${formatDuration(config.lag.limit)}`,
    );
  }
  if (config.poll.wait > config.poll.max) {
    refuse(
      'poll.wait',
      `poll.wait is ${formatDuration(config.poll.wait)} and must not exceed poll.max, ${formatDuration(config.poll.max)}`,
    );
  }
  const { message } = config.limits;
  for (const [name, room] of [
    ['limits.body', config.limits.body],
    ['pending.bytes', config.pending.bytes],
    ['hot.bytes', config.hot.bytes],
  ] as const) {
    if (message > room) {
      refuse(
        'limits.message',
        `limits.message is ${formatSize(message)} and must not exceed ${name}, ${formatSize(room)}`,
      );
    }
  }
  if (config.retention.bytes !== null && config.retention.bytes < config.segment.bytes) {
    refuse(
      'retention.bytes',
      `retention.bytes is ${formatSize(config.retention.bytes)} and must be at least segment.bytes, ${formatSize(config.segment.bytes)}: whole segments are removed`,
    );
  }
  config.rules.forEach((rule, index) => {
    if (rule.durability === undefined && rule.lag === undefined && rule.keep === undefined && rule.spool === undefined)
      warn(
        `rules[${index}]`,
        `rules[${index}] for "${rule.filter}" sets nothing: give it durability, lag, keep or spool`,
      );
    const engine = engineOf(config.engine);
    const { durabilities, keeps, shared } = capabilitiesOf[engine];
    if (rule.spool !== undefined && !shared)
      warn(
        `rules[${index}]`,
        `rules[${index}] for "${rule.filter}" has spool, for which engine ${engine} has no use: it is for engines that may be away`,
      );
    const { durability } = rule;
    if (durability !== undefined && durability !== 'none' && !durabilities.includes(durability))
      warn(
        `rules[${index}]`,
        `rules[${index}] for "${rule.filter}" has durability ${durability}, which engine ${engine} cannot keep: its records are lost with the process`,
      );
    if (rule.keep !== undefined && !keeps)
      warn(
        `rules[${index}]`,
        `rules[${index}] for "${rule.filter}" has keep, by which engine ${engine} removes nothing: ` +
          (config.engine === 'memory'
            ? 'it keeps the newest records of all topics, as many as hot.bytes holds'
            : 'only retention.age and retention.bytes do') +
          (rule.keep.lastPerKey === true
            ? '; its topics are tables all the same, so that from=last begins with the newest record of each key'
            : ''),
      );
  });
  const { bridge, kafka } = config;
  if (bridge.length > 0 && kafka.bridge === '' && engineOf(config.engine) !== 'kafka')
    refuse(
      'bridge',
      `bridge names topics of Kafka, and neither kafka.bridge nor engine, ${engineOf(config.engine)}, says where Kafka is: set kafka.bridge to its address, such as kafka://127.0.0.1:9092`,
    );
  if (bridge.length === 0 && kafka.bridge !== '')
    warn('kafka.bridge', 'kafka.bridge is set, and bridge names no topics: nothing is read there');
  bridge.forEach(({ from }, index) => {
    const before = bridge.findIndex(rule => rule.from === from);
    if (before < index)
      refuse(
        `bridge[${index}]`,
        `bridge[${index}].from is ${from}, as bridge[${before}].from is: each topic of Kafka can be served once`,
      );
    if (engineOf(config.engine) === 'kafka' && kafka.bridge === '' && from === `kafka:${kafka.name}`)
      refuse(`bridge[${index}]`, `bridge[${index}].from is ${from}, which is the log itself (kafka.name)`);
  });
  return problems;
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
}
