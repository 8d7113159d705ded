// Loaded before a Node server under test (`--import`): collects garbage when asked, so that memory is measured after
// it and not at a random moment.
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

process.on('message', question => {
  if (question !== 'gc') return;
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  // the second round takes what the finalizers of the first set free
  collect();
  setImmediate(() => {
    collect();
    process.send?.('gc done');
  });
});
process.channel?.unref();
