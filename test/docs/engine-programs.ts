import { findKafka } from '../../packages/server/test/engines/kafka-program.ts';
import { findNats } from '../../packages/server/test/engines/nats-program.ts';
import { redisProgram } from '../../packages/server/test/engines/redis-program.ts';

/** Names of the programs that pages start, and scripts that start those that are here. */
export function enginePrograms(): ReadonlyMap<string, string> {
  const programs = new Map<string, string>();
  const nats = findNats();
  const kafka = findKafka();
  if (redisProgram !== undefined) programs.set('redis-server', script(`-a redis-server '${redisProgram}'`));
  if (nats !== undefined) programs.set('nats-server', script(`'${nats}'`));
  if (kafka !== undefined) {
    // what the scripts of a Kafka installation do
    const java = `java -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp '${kafka}/*'`;
    programs.set('kafka-storage.sh', script(`${java} kafka.tools.StorageTool`));
    programs.set('kafka-server-start.sh', script(`${java} -Dorg.slf4j.simpleLogger.defaultLogLevel=info kafka.Kafka`));
  }
  return programs;
}

const started = ['redis-server', 'nats-server', 'kafka-storage.sh', 'kafka-server-start.sh'];

/** Whether the block starts a program that is not here. */
export function isMissing(text: string): boolean {
  return started.some(name => text.startsWith(`${name} `) && !enginePrograms().has(name));
}

function script(command: string): string {
  return `#!/bin/bash\nexec ${command} "$@"\n`;
}
