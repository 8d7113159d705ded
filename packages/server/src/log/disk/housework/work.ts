import { parentPort } from 'node:worker_threads';
import { restingClock } from '../../clock.ts';
import { blockingDisk } from './blocking-disk.ts';
import { runEraseJob } from './erase-job.ts';
import { runIndexJob } from './index-job.ts';
import { type FromThread, type Outcome, outcomeOf, resultOf, type Task, type ToThread } from './messages.ts';
import { type MayDrop, runSweepJob, type SweepHost } from './sweep-job.ts';

const port = parentPort!;
const stops = new Map<number, AbortController>();
const calls = new Map<number, (outcome: Outcome) => void>();
let nextCall = 0;

port.on('message', (message: ToThread) => {
  if (message.kind === 'answer') calls.get(message.call)?.(message.outcome);
  else if (message.kind === 'stop') stops.get(message.id)?.abort();
  else void begin(message.id, message.task);
});

async function begin(id: number, task: Task): Promise<void> {
  const stop = new AbortController();
  stops.set(id, stop);
  const outcome = await outcomeOf(() => run(id, task, stop.signal));
  stops.delete(id);
  send({ kind: 'done', id, outcome });
}

function run(id: number, task: Task, stop: AbortSignal): Promise<unknown> {
  if (task.kind === 'index') return runIndexJob(blockingDisk, restingClock, task.job);
  if (task.kind === 'erase') return runEraseJob(blockingDisk, restingClock, task.job, hostOf(id), stop);
  return runSweepJob(blockingDisk, restingClock, task.job, hostOf(id), stop);
}

/** The log's host of the task, on the other thread. */
function hostOf(id: number): SweepHost {
  const ask = (method: keyof SweepHost, argument: unknown): Promise<unknown> => {
    const call = nextCall++;
    const answered = new Promise<Outcome>(resolve => calls.set(call, resolve));
    send({ kind: 'ask', id, call, method, argument });
    return answered.then(outcome => {
      calls.delete(call);
      return resultOf(outcome);
    });
  };
  return {
    isThere: segment => ask('isThere', segment) as Promise<boolean>,
    mayDrop: segment => ask('mayDrop', segment) as Promise<MayDrop>,
    unreadable: unreadable => ask('unreadable', unreadable) as Promise<void>,
    install: rewritten => ask('install', rewritten) as Promise<boolean>,
  };
}

function send(message: FromThread): void {
  port.postMessage(message);
}
