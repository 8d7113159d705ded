// What one writes first: SSE by `node:http` and `res.write`, a Set of responses, nothing kept.
import { createServer, type ServerResponse } from 'node:http';

const subscribers = new Set<ServerResponse>();

const server = createServer((request, response) => {
  if (request.method === 'GET') {
    response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' });
    response.flushHeaders();
    subscribers.add(response);
    response.on('close', () => subscribers.delete(response));
    return;
  }
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () => {
    const event = `data: ${Buffer.concat(chunks)}\n\n`;
    for (const subscriber of subscribers) subscriber.write(event);
    response.end('{}');
  });
});
server.listen({ port: Number(process.argv[2]), host: '127.0.0.1', backlog: 4096 });
