import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/**
 * Where the Redis server is, when it is installed. `redis-check-rdb`, which Debian has in a package without a service, is
 * the same program and becomes the server when it is called by that name.
 */
export const redisProgram: string | undefined = ['redis-server', 'redis-check-rdb']
  .flatMap(name => (process.env.PATH ?? '').split(delimiter).map(directory => join(directory, name)))
  .find(path => existsSync(path));
