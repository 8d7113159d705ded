import { type Log, openMemoryLog } from '../../src/log/index.ts';

/** A log that commits nothing before it is let. */
export function heldLog(): { readonly log: Log; release(): void } {
  const log = openMemoryLog();
  let release = (): void => {};
  const held = new Promise<void>(resolve => (release = resolve));
  const append: Log['append'] = (...of) => held.then(() => log.append(...of));
  return {
    release,
    log: new Proxy(log, {
      get(target, name) {
        if (name === 'append') return append;
        const value: unknown = Reflect.get(target, name, target);
        return typeof value === 'function' ? value.bind(target) : value;
      },
    }),
  };
}
