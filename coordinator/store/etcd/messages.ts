import { Fields, Message } from '../../protobuf.js';
import type { Condition, Entry, Operation, Outcome, Transaction } from './etcd.js';

/** Messages of etcd's API version 3 (api/etcdserverpb/rpc.proto, api/mvccpb/kv.proto); numbers are those of the fields. */
const TARGET_CREATE = 1;
const TARGET_MODIFIED = 2;
const TARGET_VALUE = 3;

export function transactionMessage({ conditions, perform, otherwise }: Transaction): Message {
  return new Message()
    .messages(1, conditions.map(compareMessage))
    .messages(2, perform.map(operationMessage))
    .messages(3, otherwise.map(operationMessage));
}

function compareMessage(condition: Condition): Message {
  // The result that is wanted is "equal", which is 0.
  if ('created' in condition) {
    const compare = new Message().int(2, TARGET_CREATE).bytes(3, condition.key);
    return compare.int(5, condition.created);
  }
  if ('modified' in condition) {
    return new Message().int(2, TARGET_MODIFIED).bytes(3, condition.key).int(6, condition.modified);
  }
  return new Message().int(2, TARGET_VALUE).bytes(3, condition.key).bytes(7, condition.value);
}

function operationMessage(operation: Operation): Message {
  if (operation.kind === 'put') {
    const { key, value, lease = 0n } = operation;
    return new Message().message(2, new Message().bytes(1, key).bytes(2, value).int(3, lease));
  }
  if (operation.kind === 'delete') {
    return new Message().message(3, new Message().bytes(1, operation.key).bytes(2, operation.end ?? ''));
  }
  const { key, end = '', limit = 0, revision = 0 } = operation;
  return new Message().message(1, new Message().bytes(1, key).bytes(2, end).int(3, limit).int(4, revision));
}

export function readOutcome(bytes: Buffer): Outcome {
  const fields = new Fields(bytes);
  const results = fields.messages(3).map((result) => {
    const range = result.message(1);
    return { entries: range.messages(2).map(readEntry), more: range.int(3) !== 0 };
  });
  return { held: fields.int(2) !== 0, revision: fields.message(1).int(3), results };
}

function readEntry(fields: Fields): Entry {
  return {
    key: fields.bytes(1).toString('utf8'),
    value: fields.bytes(5),
    created: fields.int(2),
    modified: fields.int(3),
    lease: fields.bigint(6),
  };
}

export function grantMessage(seconds: number): Message {
  return new Message().int(1, seconds);
}

export function readGrant(bytes: Buffer): { id: bigint; seconds: number } {
  const fields = new Fields(bytes);
  return { id: fields.bigint(2), seconds: fields.int(3) };
}

export function leaseMessage(id: bigint): Message {
  return new Message().int(1, id);
}

export function readKept(bytes: Buffer): number {
  return new Fields(bytes).int(3);
}

export function watchMessage({ key, end }: { key: string; end: string }, fromRevision: number): Message {
  return new Message().message(1, new Message().bytes(1, key).bytes(2, end).int(3, fromRevision));
}

/** Whether the watch says that something changed, or that it has ended. */
export function readWatched(bytes: Buffer): boolean {
  const fields = new Fields(bytes);
  return fields.all(11).length > 0 || fields.int(4) !== 0;
}

export function compactMessage(revision: number): Message {
  return new Message().int(1, revision);
}

export function authenticateMessage(name: string, password: string): Message {
  return new Message().bytes(1, name).bytes(2, password);
}

export function readToken(bytes: Buffer): string {
  return new Fields(bytes).bytes(2).toString('utf8');
}
