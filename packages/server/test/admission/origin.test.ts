import { describe, expect, it } from 'vitest';
import { OriginPolicy, type OriginVerdict } from '../../src/admission/index.ts';

const open = new OriginPolicy({ origins: [], hosts: ['push.example.com', 'Printer.LAN.'], authenticated: false });
const listed = new OriginPolicy({
  origins: ['https://app.example.com', 'http://dev.example.com:3000'],
  hosts: [],
  authenticated: false,
});
const tokens = new OriginPolicy({ origins: [], hosts: [], authenticated: true });
const everyone = new OriginPolicy({ origins: ['*'], hosts: [], authenticated: false });

function ask(policy: OriginPolicy, host?: string, origin?: string, secFetchSite?: string): string {
  const request = { host, origin, secFetchSite };
  const verdict = policy.check(request);
  // the second answer comes from the kept verdicts
  expect(word(policy.check(request))).toBe(word(verdict));
  return word(verdict);
}

function word(verdict: OriginVerdict): string {
  return 'error' in verdict ? verdict.error.code : (verdict.allowOrigin ?? 'served');
}

describe('Host of an unauthenticated server (DNS rebinding)', () => {
  it.each([
    'localhost',
    'localhost:4080',
    'LocalHost:4080',
    'localhost.',
    'localhost.:4080',
    '127.0.0.1',
    '127.0.0.1:4080',
    '127.255.3.4:1',
    '[::1]',
    '[::1]:4080',
    'push.example.com',
    'PUSH.example.com.:8443',
    'printer.lan',
  ])('serves %s', host => expect(ask(open, host)).toBe('served'));

  it.each([
    'evil.com',
    'localhost.evil.com',
    'localhost.evil.com:4080',
    'evil-localhost',
    'xlocalhost',
    '127.0.0.1.nip.io',
    '127.0.0.256',
    '127.0.0',
    '127.1',
    '2130706433',
    '0x7f.0.0.1',
    '0.0.0.0',
    '192.168.1.4:4080',
    '[::2]',
    '[::ffff:127.0.0.1]',
    'sub.push.example.com',
  ])('refuses %s', host => expect(ask(open, host)).toBe('host_refused'));

  it.each([
    '',
    ' ',
    'localhost:',
    'localhost:0',
    'localhost:65536',
    'localhost:80:80',
    'localhost:80a',
    'localhost@evil.com',
    'evil.com@localhost',
    'user:pass@localhost',
    'localhost/evil',
    'localhost\\evil',
    'localhost#evil.com',
    'localhost?evil',
    'local host',
    'localhost..',
    'local..host',
    'localhost%00.evil.com',
    '[::1',
    '::1',
    '[::1]evil.com',
    '[::1%25lo]',
    'http://localhost',
    'localhost, evil.com',
    'ⓛocalhost',
    `${'a'.repeat(300)}`,
  ])('calls %j malformed', host => expect(ask(open, host)).toBe('bad_request'));

  it('calls an absent Host malformed', () => expect(ask(open)).toBe('bad_request'));

  it('serves any well-formed host once requests prove who they are', () => {
    expect(ask(tokens, 'evil.com')).toBe('served');
    expect(ask(tokens, 'evil.com/')).toBe('bad_request');
  });
});

describe('Origin', () => {
  it.each([
    ['localhost:4080', 'http://localhost:4080'],
    ['localhost:4080', 'http://localhost:5173'],
    ['127.0.0.1:4080', 'https://localhost'],
    ['localhost', 'http://127.0.0.1:9'],
    ['[::1]:4080', 'http://[::1]:5173'],
    ['push.example.com', 'https://push.example.com'],
    ['push.example.com', 'http://push.example.com'],
    ['push.example.com:443', 'https://push.example.com'],
    ['push.example.com', 'https://push.example.com:443'],
    ['push.example.com:8443', 'https://push.example.com:8443'],
  ])('at %s allows %s', (host, origin) => expect(ask(open, host, origin)).toBe(origin));

  it.each([
    ['localhost:4080', 'null'],
    ['localhost:4080', ''],
    ['localhost:4080', 'https://evil.com'],
    ['localhost:4080', 'http://localhost.evil.com'],
    ['localhost:4080', 'http://evil.com@localhost:4080'],
    ['localhost:4080', 'http://localhost:4080@evil.com'],
    ['localhost:4080', 'http://localhost:4080/'],
    ['localhost:4080', 'http://localhost:4080/../evil'],
    ['localhost:4080', 'http://localhost:4080#evil'],
    ['localhost:4080', 'http://localhost:4080, http://evil.com'],
    ['localhost:4080', 'http://localhost:99999'],
    ['localhost:4080', 'http://127.0.0.2:4080'],
    ['localhost:4080', 'file://'],
    ['localhost:4080', 'chrome-extension://abcdef'],
    ['localhost:4080', 'ftp://localhost:4080'],
    ['localhost:4080', 'localhost:4080'],
    ['push.example.com', 'https://push.example.com:8443'],
    ['push.example.com:8443', 'https://push.example.com'],
    ['push.example.com:80', 'https://push.example.com'],
    ['push.example.com', 'http://localhost:4080'],
  ])('at %s refuses %j', (host, origin) => expect(ask(open, host, origin)).toBe('origin_refused'));

  it('allows what is listed and its own, and then no longer every loopback page', () => {
    expect(ask(listed, 'localhost:4080', 'https://app.example.com')).toBe('https://app.example.com');
    expect(ask(listed, 'localhost:4080', 'http://dev.example.com:3000')).toBe('http://dev.example.com:3000');
    expect(ask(listed, 'localhost:4080', 'http://dev.example.com')).toBe('origin_refused');
    expect(ask(listed, 'localhost:4080', 'http://app.example.com')).toBe('origin_refused');
    expect(ask(listed, 'localhost:4080', 'https://app.example.com.evil.com')).toBe('origin_refused');
    expect(ask(listed, 'localhost:4080', 'http://localhost:4080')).toBe('http://localhost:4080');
    expect(ask(listed, 'localhost:4080', 'http://localhost:5173')).toBe('origin_refused');
  });

  it('does not trust loopback pages by themselves when requests prove who they are', () => {
    expect(ask(tokens, 'push.example.com', 'https://push.example.com')).toBe('https://push.example.com');
    expect(ask(tokens, 'localhost:4080', 'http://localhost:5173')).toBe('origin_refused');
  });

  it('with * allows every page but null', () => {
    expect(ask(everyone, 'localhost:4080', 'https://evil.com')).toBe('https://evil.com');
    expect(ask(everyone, 'localhost:4080', 'null')).toBe('origin_refused');
    expect(ask(everyone, 'evil.com', 'https://evil.com')).toBe('host_refused');
  });
});

describe('requests without Origin', () => {
  it('refuses those a page of another site caused, and no others', () => {
    expect(ask(open, 'localhost:4080', undefined, 'cross-site')).toBe('origin_refused');
    expect(ask(open, 'localhost:4080', undefined, 'Cross-Site')).toBe('origin_refused');
    for (const site of ['same-origin', 'same-site', 'none', undefined])
      expect(ask(open, 'localhost:4080', undefined, site)).toBe('served');
  });

  it('judges by Origin where there is one', () => {
    expect(ask(listed, 'localhost:4080', 'https://app.example.com', 'cross-site')).toBe('https://app.example.com');
  });
});

it('stays bounded and right under a flood of different hosts', () => {
  const policy = new OriginPolicy({ origins: [], hosts: [], authenticated: false });
  for (let i = 0; i < 5000; i++)
    expect(word(policy.check({ host: `h${i}.evil.com`, origin: undefined, secFetchSite: undefined }))).toBe(
      'host_refused',
    );
  expect(ask(policy, 'localhost:4080')).toBe('served');
});
