import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { archiveKafka } from '../../packages/server/test/engines/kafka-archive.ts';
import { fetchKafka, findKafka, kafkaArchive, kafkaVersion } from '../../packages/server/test/engines/kafka-program.ts';
import { findNats, natsDirectory, natsVersion } from '../../packages/server/test/engines/nats-program.ts';

/** A program that some suites need and npm does not bring. */
interface Missing {
  readonly name: string;
  /** What does not happen without it. */
  readonly consequence: string;
}

interface Program extends Missing {
  /** Names under which it may stand in PATH. */
  readonly commands: readonly string[];
  readonly debianPackage: string;
}

const programs: readonly Program[] = [
  {
    name: 'chromium',
    commands: ['chromium', 'chromium-browser', 'google-chrome'],
    debianPackage: 'chromium',
    consequence: 'The suites that open pages in a browser do not run.',
  },
  {
    name: 'redis-server',
    // the one of redis-tools is the server too, under another name, and brings no service that starts by itself
    commands: ['redis-server', 'redis-check-rdb'],
    debianPackage: 'redis-tools',
    consequence: 'The suites of the log in Redis do not run.',
  },
];

/** Installs what is missing where that is possible (root on a Debian); returns what is missing still. */
export async function providePrograms(): Promise<readonly Missing[]> {
  const missing = programs.filter(program => !isInstalled(program));
  return [...provideFromDebian(missing), ...(await provideKafka()), ...provideNats()];
}

function provideFromDebian(missing: readonly Program[]): readonly Program[] {
  if (missing.length === 0 || process.getuid?.() !== 0 || !inPath('apt-get')) return missing;
  const names = missing.map(program => program.debianPackage);
  console.log(`installing ${names.join(', ')} from Debian's packages`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  spawnSync('apt-get', ['update', '-q'], { stdio: 'ignore', env, timeout: 120_000 });
  spawnSync('apt-get', ['install', '-y', '-q', '--no-install-recommends', ...names], {
    stdio: 'inherit',
    env,
    timeout: 600_000,
  });
  return missing.filter(program => !isInstalled(program));
}

/** Debian has none. */
async function provideKafka(): Promise<readonly Missing[]> {
  if (findKafka() === undefined && inPath('mvn') && inPath('java')) {
    console.log(`fetching Kafka ${kafkaVersion} with Maven`);
    fetchKafka();
  }
  if (findKafka() !== undefined) {
    if (!existsSync(kafkaArchive)) await archiveKafka();
    return [];
  }
  return [
    {
      name: `Kafka ${kafkaVersion} (fetched with Maven; needs java and mvn, or KAFKA_HOME)`,
      consequence: 'The suites of the log in Kafka do not run.',
    },
  ];
}

/** Debian's is too old: it ignores settings without a word, and tests against it pass wrongly. */
function provideNats(): readonly Missing[] {
  if (findNats() !== undefined) return [];
  if (inPath('go')) {
    console.log(`building nats-server ${natsVersion} by go install`);
    spawnSync('go', ['install', `github.com/nats-io/nats-server/v2@v${natsVersion}`], {
      stdio: 'inherit',
      env: { ...process.env, GOBIN: natsDirectory, GOTOOLCHAIN: 'local' },
      timeout: 600_000,
    });
  }
  if (findNats() !== undefined) return [];
  return [
    {
      name: `nats-server ${natsVersion} (built by \`go install\`, which needs Go)`,
      consequence: 'The suites of the log in NATS do not run.',
    },
  ];
}

function isInstalled(program: Program): boolean {
  return program.commands.some(inPath);
}

function inPath(command: string): boolean {
  return (process.env.PATH ?? '').split(delimiter).some(directory => {
    try {
      accessSync(join(directory, command), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}
