import type { LinkedAgent } from '../../agent/link.js';

/** An agent without instances, behind a real link, that takes everything and does nothing but what `more` says. */
export function idleAgent(more: Partial<LinkedAgent> = {}): LinkedAgent {
  return {
    applied: 0,
    apply: async () => undefined,
    report: async () => ({ instances: [], events: [], ports: [] }),
    profile: () => Promise.reject(new Error('nobody asks')),
    readLog: () => Promise.reject(new Error('nobody asks')),
    startCommand: () => Promise.reject(new Error('nobody asks')),
    readShard: () => Promise.reject(new Error('nobody asks')),
    writeShard: () => Promise.reject(new Error('nobody asks')),
    keep: () => undefined,
    leaseAsked: undefined,
    prolongLease: async () => undefined,
    onChange: () => undefined,
    ...more,
  };
}
