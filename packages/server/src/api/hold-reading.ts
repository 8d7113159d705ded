import type { Socket } from 'node:net';

/**
 * Reads nothing more from a connection of node:http's until the returned function is called. To pause it is not enough:
 * node:http resumes it whenever a body is read, and at the end of every request.
 */
export function holdReading(socket: Socket): () => void {
  const pauseAgain = (): void => {
    socket.pause();
  };
  socket.on('resume', pauseAgain);
  socket.pause();
  return () => {
    socket.off('resume', pauseAgain);
    socket.resume();
  };
}
