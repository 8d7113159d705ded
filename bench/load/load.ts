import { fileURLToPath } from 'node:url';
import { loadCore } from '../pin.ts';
import { Remote } from '../remote.ts';
import type { Operations } from './process.ts';

const script = fileURLToPath(new URL('process.ts', import.meta.url));

/** The load process. Each measurement gets a fresh one. */
export class Load extends Remote<Operations> {
  constructor() {
    super('load', loadCore, [script]);
  }
}
