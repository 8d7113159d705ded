import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export const canCertify: boolean = spawnSync('openssl', ['version'], { stdio: 'ignore' }).status === 0;

const directories: string[] = [];
process.on('exit', () => {
  for (const directory of directories) rmSync(directory, { recursive: true, force: true });
});

const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];

/** An authority of one's own, whom only those trust that are told to. */
export class Authority {
  readonly directory: string = mkdtempSync(join(tmpdir(), 'tailrace-certificates-'));

  constructor() {
    directories.push(this.directory);
    this.#openssl('req', '-x509', ...newKey, '-subj', '/CN=tests', '-keyout', 'ca.key', '-out', 'ca.pem', '-days', '2');
  }

  /** Its own certificate, a file. */
  get file(): string {
    return join(this.directory, 'ca.pem');
  }

  /** A certificate for a server on `address`, and its key. */
  certify(address: string): { readonly certificate: string; readonly key: string; readonly both: string } {
    const file = (extension: string): string => `${address}.${extension}`;
    const at = (extension: string): string => join(this.directory, file(extension));
    this.#openssl('req', ...newKey, '-subj', `/CN=${address}`, '-keyout', file('key'), '-out', file('csr'));
    const kind = /^[\d.]+$/.test(address) ? 'IP' : 'DNS';
    writeFileSync(at('ext'), `subjectAltName=${kind}:${address}\n`);
    this.#openssl(
      ...['x509', '-req', '-in', file('csr'), '-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '2'],
      ...['-extfile', file('ext'), '-out', file('pem')],
    );
    writeFileSync(at('both'), readFileSync(at('key'), 'utf8') + readFileSync(at('pem'), 'utf8'));
    return { certificate: at('pem'), key: at('key'), both: at('both') };
  }

  #openssl(...args: readonly string[]): void {
    execFileSync('openssl', args, { cwd: this.directory, stdio: 'pipe' });
  }
}
