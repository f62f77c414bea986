import { endOf, type Operation } from './etcd.js';

/** Where the store keeps what in etcd. Everything begins with the prefix, which ends with a slash. */
export class Keys {
  constructor(readonly prefix: string) {}

  /** Held by the leader, bound to its lease; who creates it leads. */
  get leader(): string {
    return `${this.prefix}leader`;
  }
  /** Rewritten by the leader for as long as it leads; who sees none anew may take the leadership away. */
  get beat(): string {
    return `${this.prefix}leader-beat`;
  }
  /** Both of these, and none of data. */
  get leaderAndBeat(): { key: string; end: string } {
    return { key: this.leader, end: `${this.leader}/` };
  }
  /** The highest term so far. */
  get term(): string {
    return `${this.prefix}term`;
  }
  /** Term and number of the last write; see EtcdStore. */
  get sequence(): string {
    return `${this.prefix}sequence`;
  }
  /** There while a batch of several transactions is decided but not wholly in its place: how many groups it has. */
  get journal(): string {
    return `${this.prefix}journal`;
  }
  group(index: number): string {
    return `${this.prefix}group/${String(index).padStart(6, '0')}`;
  }
  data(key: string): string {
    return `${this.prefix}data/${key}`;
  }
  /** The caller's key of a key of data. */
  callers(key: string): string {
    return key.slice(this.data('').length);
  }
  get allGroups(): { key: string; end: string } {
    const key = `${this.prefix}group/`;
    return { key, end: endOf(key) };
  }
  /** At least the keys that begin with the prefix; who reads leaves out others. */
  dataRange(prefix: string): { key: string; end: string } {
    const key = this.data(prefix);
    return { key, end: endOf(isAscii(key.at(-1)) ? key : this.data('')) };
  }
}

export function read(key: string): Operation {
  return { kind: 'read', key };
}

function isAscii(character: string | undefined): boolean {
  return character !== undefined && character < '\x7f';
}
