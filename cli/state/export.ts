import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { ShoalError, toShoalError } from '../../protocol/errors.js';
import { StateFileWriter } from '../../protocol/state-file.js';
import { syncFolder } from '../../protocol/sync-folder.js';
import type { Session } from '../session.js';
import { eachOwner, shardsOf } from './shard-rounds.js';
import type { StateConnection, StateTask } from './state-connection.js';

export interface Exported {
  file: string;
  shards: number;
  entries: number;
  bytes: number;
}

/**
 * Writes the entries of all state shards of a component into a file, each shard as it was at one moment. The file has its name
 * once it is whole and on the disk; what fails leaves nothing. Memory: a part of a shard.
 */
export async function exportState(session: Session, task: StateTask, file: string): Promise<Exported> {
  const shards = await shardsOf(session, task);
  const temporary = `${file}.partial-${process.pid}`;
  const handle = await opened(temporary, 'wx');
  try {
    const writer = new StateFileWriter();
    const { app, component } = task;
    const head = { app, component, mode: 'partitioned', shards: shards.length, atMs: Date.now() } as const;
    await writeAll(handle, writer.begin(head));
    const numbers = shards.map(({ shard }) => shard);
    await eachOwner(session, task, numbers, (connection, owned) => readAll(connection, owned, handle, writer));
    await writeAll(handle, writer.end());
    await handle.sync();
    await handle.close();
    await rename(temporary, file);
    await syncFolder(dirname(file));
    return { file, ...writer.counts, bytes: writer.bytes };
  } catch (error) {
    await handle.close().catch(() => undefined);
    await rm(temporary, { force: true });
    throw failed(error, file);
  }
}

/** A connection that breaks takes the rest of the shards with it: they come again. */
async function readAll(
  connection: StateConnection,
  shards: readonly number[],
  handle: FileHandle,
  writer: StateFileWriter,
): Promise<Map<number, ShoalError | null>> {
  const results = new Map<number, ShoalError | null>();
  for (const shard of shards) {
    const mark = writer.mark();
    try {
      const { entries, last } = await connection.read(shard, (records) =>
        writeAll(handle, writer.entries(shard, records)),
      );
      await writeAll(handle, writer.shardEnd({ shard, entries, epoch: 0, last }));
      results.set(shard, null);
    } catch (cause) {
      if (!(cause instanceof ShoalError)) throw cause;
      writer.rewind(mark);
      await handle.truncate(mark.bytes);
      results.set(shard, cause);
      if (cause.code === 'SHOAL_E_UNREACHABLE') break;
    }
  }
  return results;
}

/** At the end, wherever a file was cut off. */
async function writeAll(handle: FileHandle, bytes: Buffer): Promise<void> {
  await handle.appendFile(bytes);
}

/** Throws SHOAL_E_USAGE. */
export async function opened(path: string, flags: 'r' | 'wx'): Promise<FileHandle> {
  try {
    return await open(path, flags === 'wx' ? 'ax' : flags, 0o600);
  } catch (cause) {
    throw new ShoalError('SHOAL_E_USAGE', `cannot open ${path}: ${(cause as Error).message}`, { cause });
  }
}

function failed(error: unknown, file: string): unknown {
  const { code } = error as NodeJS.ErrnoException;
  if (error instanceof ShoalError || code === undefined) return error;
  return new ShoalError('SHOAL_E_USAGE', `cannot write ${file}: ${toShoalError(error).message}`, { cause: error });
}
