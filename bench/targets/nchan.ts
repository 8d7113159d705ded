// nchan (nginx module, C, memory), the strongest peer in Debian: libnginx-mod-nchan.
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Child } from '../child.ts';
import { serverCore } from '../pin.ts';
import { TemporaryDirectory } from '../temporary.ts';
import { sleep } from '../wait.ts';
import { freePort, listens, sseRequest, type Target, wsRequest } from './target.ts';

const nginx = '/usr/sbin/nginx';
const nchanModule = '/usr/lib/nginx/modules/ngx_nchan_module.so';

export async function startNchan(): Promise<Target> {
  for (const file of [nginx, nchanModule]) {
    if (!existsSync(file)) throw new Error(`nchan: ${file} is missing; apt-get install nginx-core libnginx-mod-nchan`);
  }
  const port = await freePort();
  const home = new TemporaryDirectory();
  const file = join(home.path, 'nginx.conf');
  writeFileSync(file, configuration(port, home.path));
  const child = new Child('nchan', serverCore, nginx, ['-p', home.path, '-c', file]);
  const stop = async (): Promise<void> => {
    await child[Symbol.asyncDispose]();
    home[Symbol.dispose]();
  };
  try {
    await child.ready(() => listens(port));
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    port,
    publish: { port, path: '/publish' },
    pids: () => child.pids(),
    // C: nothing to collect. It frees closed requests within its next turns.
    collectGarbage: () => sleep(200),
    sse: () => ({ transport: 'sse', request: sseRequest(port, '/sse') }),
    ws: () => ({ transport: 'ws', request: wsRequest(port, '/ws') }),
    [Symbol.asyncDispose]: stop,
  };
}

// The buffer is large enough that no subscriber of these scenarios misses a message; subscribers begin at the newest.
function configuration(port: number, home: string): string {
  return `
load_module ${nchanModule};
daemon off;
user root;
worker_processes 1;
worker_rlimit_nofile 20000;
pid ${home}/nginx.pid;
error_log stderr crit;
events {
  worker_connections 20000;
  multi_accept on;
}
http {
  access_log off;
  client_body_temp_path ${home}/body;
  proxy_temp_path ${home}/proxy;
  fastcgi_temp_path ${home}/fastcgi;
  uwsgi_temp_path ${home}/uwsgi;
  scgi_temp_path ${home}/scgi;
  tcp_nodelay on;
  keepalive_timeout 1h;
  keepalive_requests 1000000000;
  nchan_shared_memory_size 1024M;
  nchan_message_timeout 5m;
  nchan_message_buffer_length 100000;
    server {
    listen 127.0.0.1:${port} backlog=4096;
    location = /publish { nchan_publisher http; nchan_channel_id bench; }
    location = /sse { nchan_subscriber eventsource; nchan_channel_id bench; nchan_subscriber_first_message newest; }
    location = /ws { nchan_subscriber websocket; nchan_channel_id bench; nchan_subscriber_first_message newest; }
  }
}
`;
}
