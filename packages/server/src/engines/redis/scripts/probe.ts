import { Script } from './script.ts';
import { settle } from './settle.ts';

/** Writes an entry that is no record, for its writer to find in its tail. ARGV 7: what it says. Answers its id. */
export const probe: Script = new Script(`${settle}
local state = settle()
local count = redis.call('HINCRBY', STATE, 'notes', 1)
return redis.call('XADD', LOG, whole(state.head) .. '-' .. count, 'p', ARGV[7])
`);
