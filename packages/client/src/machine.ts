/**
 * - `disconnected`: nothing is wanted of the server.
 * - `connecting`: the first connection is tried, or waited for.
 * - `connected`: the server has said welcome.
 * - `recovering`: a connection was lost, and the next is tried or waited for. Subscriptions go on by their cursors.
 * - `closed`: by `close()`, or since the server refused for good. Nothing follows.
 */
export type ConnectionState = 'disconnected' | 'connecting' | 'connected' | 'recovering' | 'closed';

/**
 * - `needed`: there is something to receive or to publish; `idle`: no more.
 * - `opened`: the server said welcome; `lost`: the attempt failed, or the connection ended.
 * - `due`: the wait before the next attempt is over; `woken`: the network is back, or the page is seen again.
 * - `refused`: the server will not have this client, however often it asks; `closed`: the application has closed it.
 */
export type ConnectionEvent = 'needed' | 'idle' | 'opened' | 'lost' | 'due' | 'woken' | 'refused' | 'closed';

/**
 * - `dial`: begin an attempt, unless one is under way.
 * - `wait`: for the next attempt, as long as `backoff.ts` says.
 * - `settle`: count the connection as good once it has lasted.
 * - `look`: is the connection still alive? Its machine may have slept.
 * - `drop`: the connection or the attempt, and what was waited for.
 * - `fail`: everything that is open, with the error of the event.
 */
export type ConnectionAction = 'dial' | 'wait' | 'settle' | 'look' | 'drop' | 'fail';

type Row = { readonly [Event in ConnectionEvent]?: readonly [to: ConnectionState, ...does: ConnectionAction[]] };

/** The life of a connection. An event that a state does not list changes nothing there. */
export const transitions: { readonly [State in ConnectionState]: Row } = {
  disconnected: {
    needed: ['connecting', 'dial'],
    closed: ['closed', 'fail', 'drop'],
  },
  connecting: {
    opened: ['connected', 'settle'],
    lost: ['connecting', 'drop', 'wait'],
    due: ['connecting', 'dial'],
    woken: ['connecting', 'dial'],
    idle: ['disconnected', 'drop'],
    refused: ['closed', 'fail', 'drop'],
    closed: ['closed', 'fail', 'drop'],
  },
  connected: {
    lost: ['recovering', 'drop', 'wait'],
    woken: ['connected', 'look'],
    idle: ['disconnected', 'drop'],
    refused: ['closed', 'fail', 'drop'],
    closed: ['closed', 'fail', 'drop'],
  },
  recovering: {
    opened: ['connected', 'settle'],
    lost: ['recovering', 'drop', 'wait'],
    due: ['recovering', 'dial'],
    woken: ['recovering', 'dial'],
    idle: ['disconnected', 'drop'],
    refused: ['closed', 'fail', 'drop'],
    closed: ['closed', 'fail', 'drop'],
  },
  closed: {},
};
