// Reads the body and answers 200: what a publish costs in `node:http` before anything is done with it.
import { createServer } from 'node:http';

const server = createServer((request, response) => {
  request.on('data', () => undefined);
  request.on('end', () => response.end('{}'));
});
server.listen({ port: Number(process.argv[2]), host: '127.0.0.1', backlog: 4096 });
