import { Script } from './script.ts';
import { settle } from './settle.ts';

/** Writes an entry that is no record, for its writer to find in its tail. ARGV 7: what it says. Answers its id. */
export const probe: Script = new Script(`${settle}
return note(settle(), 'p', ARGV[7])
`);
