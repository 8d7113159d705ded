import { onTestFinished } from 'vitest';
import { Served } from '../cli/served.ts';
import { FaultyProxy } from './faulty-proxy.ts';
import { NatsServer } from './nats-server.ts';
import { RedisServer } from './redis-server.ts';

/** Does it when the test is over; what was begun last is ended first. */
export function afterwards(step: () => Promise<unknown>): void {
  onTestFinished(async () => {
    await step();
  });
}

/** Closes it when the test is over. */
export async function opened<T extends { close(): Promise<unknown> }>(opening: Promise<T>): Promise<T> {
  const one = await opening;
  afterwards(() => one.close());
  return one;
}

/** `more`: see `RedisServer.start`. */
export async function startRedis(...more: string[]): Promise<RedisServer> {
  const server = await RedisServer.start(...more);
  afterwards(() => server.stop('SIGKILL'));
  return server;
}

/** `more`: see `NatsServer.start`. */
export async function startNats(more?: string): Promise<NatsServer> {
  const server = await NatsServer.start(more);
  afterwards(() => server.stop('SIGKILL'));
  return server;
}

/** A proxy in front of the server. */
export function startProxy({ port }: { readonly port: number }): Promise<FaultyProxy> {
  return opened(FaultyProxy.start(port));
}

/** `tailrace serve` on an engine; `more`: further flags. */
export async function startNode(engine: string, ...more: string[]): Promise<Served> {
  const served = await Served.start(['--engine', engine, '--log.level', 'warn', ...more]);
  afterwards(() => served[Symbol.asyncDispose]());
  return served;
}
