import { property, assert as sample, string } from 'fast-check';
import { expect, test } from 'vitest';
import { engineFault, readEngineUrl } from '../../src/log/engine-url.ts';
import { withoutPassword } from '../../src/log/without-password.ts';

const read = (url: string): unknown => {
  const { scheme: _, ...rest } = readEngineUrl(url);
  return Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== undefined));
};

test('what a URL says is read', () => {
  expect(read('redis://h')).toEqual({ hosts: [{ host: 'h', port: 6379 }], database: 0 });
  expect(read('rediss://:p%40%2F@h:1/15')).toEqual({
    ...{ hosts: [{ host: 'h', port: 1 }], database: 15, user: '', password: 'p@/' },
  });
  expect(read('redis+sentinel://a,[::1]:2/my%2Fmain/3')).toEqual({
    ...{
      hosts: [
        { host: 'a', port: 26_379 },
        { host: '::1', port: 2 },
      ],
      primary: 'my/main',
      database: 3,
    },
  });
  expect(read('redis+cluster://u:p:q@a:1,b:2')).toMatchObject({ user: 'u', password: 'p:q', hosts: [{}, {}] });
  expect(read('kafkas://u:p@a,b:1/')).toMatchObject({ hosts: [{ port: 9092 }, { port: 1 }] });
  expect(read('tls://token@a')).toMatchObject({ user: 'token', hosts: [{ port: 4222 }] });
});

test.each([
  ['', 'write disk, memory, or a URL such as redis://'],
  ['disc', 'did you mean disk?'],
  ['reddis://h', 'did you mean redis://?'],
  ['postgres://h', 'write disk, memory, or a URL such as redis://'],
  ['redis:h:1', 'two slashes are missing: write redis://h:1'],
  ['kafka:/h:1', 'two slashes are missing: write kafka://h:1'],
  ['h:6379', 'it does not say what runs there: write redis://h:6379, for instance'],
  ['redis://', 'it names no server: write redis://host:6379'],
  ['nats://u:p@', 'it names no server: write nats://host:4222'],
  ['kafka://a:1, b:2', 'there is a space in it: write %20'],
  ['redis://h:1?db=2', 'it goes on with ?, which means nothing here'],
  [
    'redis://a:1,b:2',
    'it names 2 servers, and redis:// takes one: write redis+sentinel://a:1,b:2/<name of the primary>',
  ],
  ['kafka://a:1,,b:2', 'a comma in it has no server beside it'],
  ['kafka://a:1,kafka://b:2', 'the scheme is written once, in front: kafka://host:9092,host:9092'],
  ['redis://:6379', 'its server :6379 has no name before the colon: write host:6379'],
  ['redis://h:', 'the port of h is missing: write h:6379'],
  ['redis://h:x', 'the port of h is x, which is no number from 1 to 65535: write h:6379'],
  ['kafka://h:0', 'the port of h is 0, which is no number from 1 to 65535: write h:9092'],
  ['nats://h:65536', 'the port of h is 65536, which is no number from 1 to 65535: write h:4222'],
  ['redis://::1', 'its server ::1 has more than one colon: write an IPv6 address in brackets, [::1]:6379'],
  ['redis://h/main', 'its database is "main", and Redis has numbers for them: write redis://h/0'],
  ['redis://h/1/2', 'nothing may follow the database: leave out /2'],
  ['redis+cluster://h/0', 'a Redis Cluster has no databases: leave out /0, and give the log a name by redis.name'],
  ['kafka://h/orders', 'Kafka has no databases: leave out /orders, and give the log a name by kafka.name'],
  ['nats://h/x', 'NATS has no databases: leave out /x, and give the log a name by nats.name'],
  ['redis+sentinel://h', 'it does not say what the Sentinels call the primary: write redis+sentinel://h/mymaster'],
  ['redis+sentinel://h/a/b', 'its database is "b", and Redis has numbers for them: write redis+sentinel://h/a/0'],
  ['redis://u@h', 'it has a user and no password before the @: write redis://user:password@…, or redis://:password@…'],
  ['kafka://:p@h', 'Kafka needs a user and a password: write kafka://user:password@…'],
  ['redis://u:50%@h', 'its password has a % that begins no code of a character: write %25 for a % itself'],
  ['redis://u%zz:p@h', 'its user has a % that begins no code'],
  ['redis+sentinel://h/%', 'its name of the primary has a % that begins no code'],
  ['redis://u:p@ss@h', 'its user or password has a character that has to be written as a code: %40 for @, %2F for /'],
  ['redis://u:p/ss@h', 'its user or password has a character that has to be written as a code: %40 for @, %2F for /'],
])('%s: %s', (url, fault) => {
  expect(engineFault(url)).toContain(fault);
});

test('whatever is wrong with a URL, its password is shown nowhere', () => {
  const secret = 'zSEcReTz';
  const parts = string({ maxLength: 6 });
  sample(
    property(parts, parts, parts, string({ maxLength: 4 }), (before, after, user, path) => {
      for (const scheme of ['redis://', 'redis+sentinel://', 'nats://', 'tls:', 'x', 'kafka:/', ''])
        for (const password of [before + secret + after, encodeURIComponent(before + secret + after)]) {
          const url = `${scheme}${user}:${password}@h:1/${path}`;
          expect(withoutPassword(url)).not.toContain(secret);
          expect(engineFault(url) ?? '').not.toContain(secret);
        }
    }),
  );
});
