import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

/** The broker that the suites are written against. */
export const kafkaVersion = '4.3.1';

/** Outside of the repository, so that it is fetched once for all checkouts. */
export const kafkaDirectory: string = join(
  process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'),
  'tailrace',
  `kafka-${kafkaVersion}`,
);

/** Classes of the broker as Java wants to have them, see `archiveKafka`. */
export const kafkaArchive: string = join(kafkaDirectory, 'classes.jsa');

/** The jars of Kafka: of an installation that `KAFKA_HOME` names, or those that `fetchKafka` fetched. */
export function findKafka(): string | undefined {
  if (spawnSync('java', ['-version'], { stdio: 'ignore' }).status !== 0) return undefined;
  return [process.env.KAFKA_HOME, kafkaDirectory]
    .filter(home => home !== undefined)
    .map(home => join(home, 'libs'))
    .find(existsSync);
}

const pom = `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>tailrace</groupId>
  <artifactId>kafka</artifactId>
  <version>1</version>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>${kafkaVersion}</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
`;

/** Fetches the jars with Maven. */
export function fetchKafka(): void {
  mkdirSync(kafkaDirectory, { recursive: true });
  writeFileSync(join(kafkaDirectory, 'pom.xml'), pom);
  const goal = 'org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies';
  // a directory that is only half there must not be found
  const options = ['-B', '-q', goal, '-DincludeScope=runtime', '-DoutputDirectory=fetched'];
  const fetched = spawnSync('mvn', options, { cwd: kafkaDirectory, stdio: 'inherit', timeout: 600_000 });
  if (fetched.status === 0) spawnSync('mv', ['fetched', 'libs'], { cwd: kafkaDirectory });
}
