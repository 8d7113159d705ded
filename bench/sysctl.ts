import { readFileSync, writeFileSync } from 'node:fs';

const changed = new Set<KernelSetting>();
process.on('exit', () => {
  for (const setting of changed) setting[Symbol.dispose]();
});

/** A setting of the kernel (`net.ipv4.…`) that is as before after its scope, also when the run is interrupted. */
export class KernelSetting implements Disposable {
  readonly #file: string;
  readonly #before: string;

  /** Leaves it as it is where this process may not change it: `value` tells. */
  constructor(name: string, value: number) {
    this.#file = `/proc/sys/${name.replaceAll('.', '/')}`;
    this.#before = this.#read();
    try {
      writeFileSync(this.#file, String(value));
      changed.add(this);
    } catch {
      // not root
    }
  }

  get value(): number {
    return Number(this.#read());
  }

  [Symbol.dispose](): void {
    if (changed.delete(this)) writeFileSync(this.#file, this.#before);
  }

  #read(): string {
    return readFileSync(this.#file, 'latin1').trim();
  }
}

/** So that files are read from the disk again. Nothing happens where this process may not do it. */
export function dropPageCache(): void {
  try {
    writeFileSync('/proc/sys/vm/drop_caches', '1');
  } catch {
    // not root
  }
}
