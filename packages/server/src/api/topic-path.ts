import { decodePath, TailraceError } from '@tailrace/protocol';

export const topicsPath = '/v1/topics/';

/** The topic of a path, of which `path` is what follows `/v1/topics/`; it is not checked yet. */
export function readTopic(path: string): string {
  if (path === '')
    throw new TailraceError('topic_invalid', 'the topic is empty: it is what follows /v1/topics/ in the path', {
      at: { field: 'topic' },
    });
  if (!/^[!-~]*$/.test(path))
    throw new TailraceError('topic_invalid', 'the path has bytes that must be percent-encoded (as UTF-8)', {
      at: { field: 'topic' },
    });
  return decodePath(path);
}
