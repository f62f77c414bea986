import { ShoalError } from '../../../protocol/errors.js';
import { Fields, Message } from '../../protobuf.js';
import { encodeOperation, type StoreOperation } from '../store.js';

/** What etcd takes in one transaction (`--max-txn-ops`, 128) and one request (`--max-request-bytes`, 1.5 MiB), less our own part. */
export const TRANSACTION_OPERATIONS_MAX = 100;
export const TRANSACTION_BYTES_MAX = 1_280 * 1024;

/** `text`: the value as JSON; null: the key is removed. */
export interface Write {
  key: string;
  text: string | null;
}

/** The batch with each key once: the last word about it counts, as etcd takes no key twice in a transaction. */
export function writesOf(batch: readonly StoreOperation[]): Write[] {
  const writes = new Map<string, Write>();
  for (const operation of batch) {
    const write = encodeOperation(operation);
    writes.delete(write.key);
    writes.set(write.key, write);
  }
  return [...writes.values()];
}

/** The writes in as few groups as one transaction each can hold. */
export function groupsOf(writes: readonly Write[]): Write[][] {
  const groups: Write[][] = [];
  let bytes = 0;
  for (const write of writes) {
    const size = bytesOf(write);
    const last = groups.at(-1);
    if (last === undefined || last.length >= TRANSACTION_OPERATIONS_MAX || bytes + size > TRANSACTION_BYTES_MAX) {
      groups.push([write]);
      bytes = size;
    } else {
      last.push(write);
      bytes += size;
    }
  }
  return groups;
}

/** A key, its value and what frames them. */
function bytesOf({ key, text }: Write): number {
  return Buffer.byteLength(key) + (text === null ? 0 : Buffer.byteLength(text)) + 64;
}

/** A group as the bytes of one value; not as JSON, which would escape every quote of its texts again. */
export function encodeGroup(group: readonly Write[]): Uint8Array {
  const message = new Message();
  for (const { key, text } of group) {
    message.message(1, new Message().bytes(1, key).bytes(2, text ?? ''));
  }
  return message.encode();
}

export function decodeGroup(bytes: Buffer): Write[] {
  try {
    return new Fields(bytes).messages(1).map((fields) => {
      const text = fields.bytes(2).toString('utf8');
      // No JSON text is empty.
      return { key: fields.bytes(1).toString('utf8'), text: text === '' ? null : text };
    });
  } catch (cause) {
    throw new ShoalError('SHOAL_E_STORE', 'a batch that was begun is damaged in the store', { cause });
  }
}
