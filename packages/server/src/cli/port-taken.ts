import { connect } from 'node:net';

/**
 * Whether somebody listens there. The server's own listeners share their port (SO_REUSEPORT), so that a second server of
 * the same user would be let in without a word, and clients would meet one or the other.
 */
export function portIsTaken(host: string, port: number): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect({ host, port, timeout: 1000 });
    const settle = (taken: boolean): void => {
      socket.destroy();
      resolve(taken);
    };
    socket.on('connect', () => settle(true));
    socket.on('timeout', () => settle(false));
    socket.on('error', () => settle(false));
  });
}
