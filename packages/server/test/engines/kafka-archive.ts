import { existsSync, mkdirSync, renameSync } from 'node:fs';
import { kafkaArchive, kafkaDirectory } from './kafka-program.ts';
import { KafkaServer } from './kafka-server.ts';

/** Writes down the classes that a broker loads, so that each start of one takes a second and not three. */
export async function archiveKafka(): Promise<void> {
  mkdirSync(kafkaDirectory, { recursive: true });
  const unfinished = `${kafkaArchive}.${process.pid}`;
  const server = await KafkaServer.start({ java: [`-XX:ArchiveClassesAtExit=${unfinished}`] });
  await server.stop();
  // a Java that cannot do it goes on without
  if (existsSync(unfinished)) renameSync(unfinished, kafkaArchive);
}
