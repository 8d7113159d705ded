import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openNatsLog } from '../../src/engines/nats/nats-log.ts';
import { CliProcess } from '../cli/cli-process.ts';
import { message, offsetOf } from '../log/messages.ts';
import { Authority, canCertify } from './certificates.ts';
import { NatsServer } from './nats-server.ts';
import { withNats } from './with-nats.ts';

describe.skipIf(!canCertify)('with certificates', () => {
  withNats('who may use NATS', () => {
    let ours: Authority;
    let secure: NatsServer;
    let plain: NatsServer;

    beforeAll(async () => {
      ours = new Authority();
      const { certificate, key } = ours.certify('127.0.0.1');
      secure = await NatsServer.start(
        `tls { cert_file: "${certificate}", key_file: "${key}" }\nauthorization { token: "s:e/cret" }`,
      );
      plain = await NatsServer.start('authorization { user: u, password: "p:@/" }');
    });

    afterAll(() => Promise.all([secure.stop('SIGKILL'), plain.stop('SIGKILL')]));

    const withSecret = (server: NatsServer, secret: string, scheme = 'nats'): string =>
      `${scheme}://${secret}@127.0.0.1:${server.port}`;

    test('a user and a password', async () => {
      const log = await openNatsLog({ url: withSecret(plain, 'u:p%3A%40%2F') });
      expect((await log.append([message('a')], 'written')).map(offsetOf)).toEqual([1]);
      await log.close();
    });

    test('TLS with an authority of our own, and a token', async () => {
      const env = { NODE_EXTRA_CA_CERTS: ours.file };
      const settings = ['--engine', withSecret(secure, 's%3Ae%2Fcret', 'tls'), '--durability', 'written'];
      await using served = new CliProcess(['serve', '--port', '0', ...settings], { env });
      await served.until(() => served.stdout.includes('http'));
    });

    test('who is not let in is told why and what to do, at once', async () => {
      const cases: readonly (readonly [url: string, said: RegExp])[] = [
        [withSecret(plain, 'u:x'), /it refuses the user and password, or the token, of the URL/],
        [plain.url, /it refuses the user and password/],
        [withSecret(plain, 'u:p', 'tls'), /it speaks without TLS: the URL has to begin with nats:\/\//],
        [withSecret(secure, 'x', 'tls'), /of no authority that this server trusts: .* by NODE_EXTRA_CA_CERTS/],
      ];
      for (const [url, said] of cases) {
        const shown = url.replace(/[^/]+@/, '');
        const refused = openNatsLog({ url, startTimeout: 60_000 });
        await expect(refused).rejects.toThrow(`the log cannot be opened: NATS at ${shown} does not serve it: `);
        await expect(refused).rejects.toThrow(said);
      }
    });

    test('a server ends that nobody lets in, or that finds another name in the certificate, and says why', async () => {
      const env = { NODE_EXTRA_CA_CERTS: ours.file };
      const cases = [
        [withSecret(secure, 'wrong', 'tls'), 'it refuses the user and password, or the token, of the URL'],
        [
          withSecret(secure, 's%3Ae%2Fcret', 'tls').replace('127.0.0.1', 'localhost'),
          'its certificate is for another address than the URL names',
        ],
      ] as const;
      await Promise.all(
        cases.map(async ([url, said]) => {
          await using served = new CliProcess(['serve', '--port', '0', '--engine', url], { env });
          expect(await served.ended()).toBe(1);
          expect(served.stderr).toContain(said);
        }),
      );
    });
  });
});
