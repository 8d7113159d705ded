// The script of the page that browser.test.ts opens: a client that tells the test what it is given.
import { connect, poll, sse, webSocket } from '../../src/index.ts';
import { tabs } from '../../src/tabs/tabs.ts';

interface Here {
  /** Outlives a reload. */
  readonly sessionStorage: { given?: string };
  readonly location: { readonly search: string };
}

const { sessionStorage, location } = globalThis as unknown as Here;
const query = new URLSearchParams(location.search);
const all = { webSocket, sse, poll };
const states: string[] = [];
const client = connect(query.get('server') ?? '', {
  keepOutbox: true,
  ...(query.has('transport') && { transports: [all[query.get('transport') as keyof typeof all]] }),
  ...(query.has('share') && { share: tabs }),
  onState: state => states.push(state),
});
client.subscribe<number>('numbers', {
  from: 'saved',
  name: query.get('name') ?? 'numbers',
  onMessage: ({ data }) => {
    sessionStorage.given = `${sessionStorage.given ?? ''} ${data}`;
  },
});
Object.assign(globalThis, { client, states });
