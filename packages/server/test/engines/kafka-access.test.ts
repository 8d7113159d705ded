import { pbkdf2Sync, randomBytes } from 'node:crypto';
import {
  AclOperations,
  AclPermissionTypes,
  Admin,
  alterUserScramCredentialsV0,
  ResourcePatternTypes,
  ResourceTypes,
} from '@platformatic/kafka';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { SaslMechanism } from '../../src/engines/kafka/address.ts';
import { type KafkaLogOptions, openKafkaLog } from '../../src/engines/kafka/kafka-log.ts';
import { CliProcess } from '../cli/cli-process.ts';
import { message, offsetOf, readAllOf } from '../log/messages.ts';
import { Authority, canCertify } from './certificates.ts';
import { KafkaServer } from './kafka-server.ts';
import { withKafka } from './with-kafka.ts';

const password = 's:e/c@ret';
const users = ['mute', 'blind', 'curious', 'full', 'maker'] as const;
const modules = 'org.apache.kafka.common.security';

function jaasOf(listener: string): Record<string, string> {
  const known = users.map(user => `user_${user}="${password}"`).join(' ');
  const plain = `${modules}.plain.PlainLoginModule required ${known};`;
  const scram = `${modules}.scram.ScramLoginModule required;`;
  const setting = (mechanism: string): string => `listener.name.${listener}.${mechanism}.sasl.jaas.config`;
  return { [setting('plain')]: plain, [setting('scram-sha-256')]: scram, [setting('scram-sha-512')]: scram };
}

describe.skipIf(!canCertify)('with certificates', () => {
  withKafka('who may use Kafka', () => {
    let ours: Authority;
    let server: KafkaServer;
    let admin: Admin;
    const cleanup: (() => Promise<unknown>)[] = [];

    beforeAll(async () => {
      ours = new Authority();
      server = await KafkaServer.start({
        listeners: { SASL: 'SASL_PLAINTEXT', FEW: 'SASL_PLAINTEXT', TLS: 'SSL', BOTH: 'SASL_SSL' },
        properties: {
          'sasl.enabled.mechanisms': 'PLAIN,SCRAM-SHA-256,SCRAM-SHA-512',
          ...jaasOf('sasl'),
          ...jaasOf('few'),
          ...jaasOf('both'),
          'listener.name.few.sasl.enabled.mechanisms': 'PLAIN,SCRAM-SHA-256',
          'ssl.keystore.type': 'PEM',
          'ssl.keystore.location': ours.certify('127.0.0.1').both,
          'authorizer.class.name': 'org.apache.kafka.metadata.authorizer.StandardAuthorizer',
          'super.users': 'User:ANONYMOUS',
        },
      });
      admin = new Admin({ clientId: 'operator', bootstrapBrokers: [{ host: '127.0.0.1', port: server.port }] });
    });

    afterAll(async () => {
      await admin.close();
      await server.stop('SIGKILL');
    });

    afterEach(async () => {
      for (const step of cleanup.splice(0).reverse()) await step();
    });

    async function open(url: string, name: string, sasl: SaslMechanism = 'plain'): Promise<void> {
      const options: KafkaLogOptions = { url, name, sasl, durability: 'written', startTimeout: 10_000 };
      const log = await openKafkaLog(options);
      cleanup.push(() => log.close());
      expect((await log.append([message('a', 'one'), message('a', 'two')], 'written')).map(offsetOf)).toEqual([1, 2]);
      expect((await readAllOf(log, ['a'])).map(({ offset }) => offset)).toEqual([1, 2]);
    }

    const as = (user: string, secret = password, listener = 'SASL'): string =>
      `kafka://${user}:${encodeURIComponent(secret)}@127.0.0.1:${server.portOf(listener)}`;

    const secure = (listener: string, user = ''): string => `kafkas://${user}127.0.0.1:${server.portOf(listener)}`;

    /** Rights on topics; `*` is all of them. */
    async function grant(user: string, topic: string, ...operations: (keyof typeof AclOperations)[]): Promise<void> {
      await admin.createAcls({
        creations: operations.map(operation => ({
          resourceType: ResourceTypes.TOPIC,
          resourceName: topic,
          resourcePatternType: ResourcePatternTypes.LITERAL,
          principal: `User:${user}`,
          host: '*',
          operation: AclOperations[operation],
          permissionType: AclPermissionTypes.ALLOW,
        })),
      });
    }

    test('a user is let in by each mechanism, with the rights that clusters.md names and no other', async () => {
      await grant('full', 'rights', 'DESCRIBE', 'READ', 'WRITE', 'DESCRIBE_CONFIGS');
      await expect(open(as('full'), 'rights')).rejects.toThrow(
        /topic rights is missing, and this user may not make it: grant Create on it/,
      );
      await grant('full', 'rights', 'CREATE');
      await open(as('full'), 'rights');
      const connection = await admin.connections.get({ host: '127.0.0.1', port: server.port });
      const salt = randomBytes(16);
      const iterations = 4096;
      for (const [i, hash] of ['sha256', 'sha512'].entries()) {
        const saltedPassword = pbkdf2Sync(password, salt, iterations, 32 * (i + 1), hash);
        const credential = { name: 'full', mechanism: i + 1, iterations, salt, saltedPassword };
        await alterUserScramCredentialsV0.api.async(connection, [], [credential]);
      }
      for (const mechanism of ['scram-sha-256', 'scram-sha-512'] as const) {
        await grant('full', mechanism, 'DESCRIBE', 'READ', 'WRITE', 'DESCRIBE_CONFIGS', 'CREATE');
        await open(as('full'), mechanism, mechanism);
        await expect(open(as('full', 'wrong'), mechanism, mechanism)).rejects.toThrow(/it refuses the user/);
      }
    });

    test('a right that is missing is told at the start by its name', async () => {
      await open(server.url, 'short');
      await expect(open(as('blind'), 'short')).rejects.toThrow(
        /this user lacks Describe on topic short: grant Describe,/,
      );
      await grant('mute', 'short', 'DESCRIBE', 'READ', 'DESCRIBE_CONFIGS');
      await expect(open(as('mute'), 'short')).rejects.toThrow(/this user lacks Write on topic short: grant Describe, /);
      await grant('curious', 'short', 'READ', 'WRITE');
      await expect(open(as('curious'), 'short')).rejects.toThrow(/this user lacks DescribeConfigs on topic short/);
    });

    test('a right that is taken away is told to publishers, and all goes on when it is back', async () => {
      await open(server.url, 'taken');
      await grant('maker', 'taken', 'READ', 'WRITE', 'DESCRIBE_CONFIGS');
      const reports: string[] = [];
      const log = await openKafkaLog({
        ...{ url: as('maker'), name: 'taken', durability: 'written' },
        onReport: ({ kind, message }) => reports.push(`${kind}: ${message}`),
      });
      cleanup.push(() => log.close());
      const write = {
        resourceType: ResourceTypes.TOPIC,
        resourceName: 'taken',
        resourcePatternType: ResourcePatternTypes.LITERAL,
        principal: 'User:maker',
        host: '*',
        operation: AclOperations.WRITE,
        permissionType: AclPermissionTypes.ALLOW,
      };
      await admin.deleteAcls({ filters: [write] });
      await expect(log.append([message('a', 'refused')], 'written')).rejects.toMatchObject({
        code: 'log_fenced',
        message: expect.stringContaining('Write on topic taken'),
      });
      await admin.createAcls({ creations: [write] });
      expect((await log.append([message('a', 'taken')], 'written')).map(offsetOf)).toEqual([3]);
    });

    test('over TLS, with an authority of our own, with and without a user', async () => {
      const trusting = { NODE_EXTRA_CA_CERTS: ours.file };
      await grant('full', '*', 'ALL');
      const urls = [secure('TLS'), secure('BOTH', `full:${encodeURIComponent(password)}@`)];
      await Promise.all(
        urls.map(async url => {
          const settings = ['--engine', url, '--durability', 'written', '--kafka.name', 'secure'];
          await using served = new CliProcess(['serve', '--port', '0', ...settings], { env: trusting });
          await served.until(() => served.stdout.includes('http'));
        }),
      );
    });

    test('who is not let in is told why and what to do, at once', async () => {
      const cases: readonly (readonly [url: string, said: RegExp, sasl?: SaslMechanism])[] = [
        [as('full', 'wrong'), /it refuses the user or the password/],
        [as('nobody'), /it refuses the user or the password/],
        [`kafka://full:x@127.0.0.1:${server.port}`, /takes no user and password: leave them out of the URL/],
        [as('full', password, 'FEW'), /set it to one of plain, scram-sha-256$/, 'scram-sha-512'],
        [secure('TLS').replace('kafkas', 'kafka'), /it wants TLS: the URL has to begin with kafkas:\/\//],
      ];
      for (const [url, said, sasl] of cases) await expect(open(url, 'x', sasl), url).rejects.toThrow(said);
    });

    test('a server ends that does not trust the brokers, or nobody can let in, and says why', async () => {
      const trusting = { NODE_EXTRA_CA_CERTS: ours.file };
      const stranger = { NODE_EXTRA_CA_CERTS: new Authority().file };
      const cases: readonly (readonly [url: string, env: Record<string, string>, said: RegExp])[] = [
        [secure('TLS'), {}, /of no authority that this server trusts .* by NODE_EXTRA_CA_CERTS/],
        [secure('TLS'), stranger, /of no authority that this server trusts/],
        [secure('TLS').replace('127.0.0.1', 'localhost'), trusting, /not to be accepted: Hostname\/IP does not match/],
        [secure('BOTH', 'full:se%3Acret@'), trusting, /it refuses the user or the password/],
      ];
      await Promise.all(
        cases.map(async ([url, env, said]) => {
          await using served = new CliProcess(['serve', '--port', '0', '--engine', url], { env });
          expect(await served.ended()).toBe(1);
          const shown = url.replace(/[^/]+@/, '');
          expect(served.stderr).toContain(`the log cannot be opened: Kafka at ${shown} does not serve it: `);
          expect(served.stderr).toMatch(said);
        }),
      );
    });

    test('who may be let in a little later is tried until the start gives up', async () => {
      const patience = { name: 'x', startTimeout: 1500 };
      const wantsUser = openKafkaLog({ ...patience, url: `kafka://127.0.0.1:${server.portOf('SASL')}` });
      const wantsNoTls = openKafkaLog({ ...patience, url: `kafkas://127.0.0.1:${server.port}` });
      await Promise.all([
        expect(wantsUser).rejects.toThrow(/it closes the connection: where the listener wants a user and password, or/),
        expect(wantsNoTls).rejects.toThrow(/TLS handshake failed.* speaks without TLS, the URL begins with kafka:\/\//),
      ]);
    });
  });
});
