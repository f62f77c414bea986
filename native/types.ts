/** What the agent needs of the host that plain Node cannot do. Failed system calls throw as Node's own do. */
export interface NativeHost {
  /**
   * Starts the program (an absolute path) in a session of its own, at /, without environment, with /dev/null as its
   * standard streams; resolves to its pid. It outlives this process, holds up its end no more than its event loop, and is
   * reaped when it ends before. Not by fork(2), as Node does, which stops an agent of 100 MiB for some 10 ms.
   */
  spawnDetached(file: string, args: readonly string[]): Promise<number>;
  /** Calls back once when the process is gone, by pidfd. Throws ESRCH when there is no such process. */
  watchPid(pid: number, onExit: () => void): PidWatch;
  /** Sends the signal by pidfd; false when the process is gone. */
  signalPid(pid: number, signal: number): boolean;
  /** Whether some process holds the flock of the file; false when there is no such file. */
  lockIsHeld(path: string): boolean;
  /** Holds the flock of the file until this process ends; throws EAGAIN when another holds it. */
  acquireLock(path: string): void;
  /** Recursive; read-only also means without set-user-id programs and devices. */
  bindMount(source: string, target: string, options: { readonly: boolean }): void;
  unmount(path: string): void;
  mountCgroup2(path: string): void;
  /** Ms since the machine was booted, those that it slept included: the clock by which shims look at leases. */
  bootMs(): number;
  /** Tells systemd; false when not started by it. */
  sdNotify(state: string): boolean;
  /** Whatever runs in the cgroup or below can use no device but null, zero, full, random, urandom and terminals. */
  confineDevices(cgroupPath: string): void;
  /** Tells a terminal its size, each from 1 to 65535; its programs get SIGWINCH (ioctl_tty(2), TIOCSWINSZ). */
  resizeTerminal(fd: number, columns: number, rows: number): void;
  /** Makes a whiteout: hides what lower layers of an overlay have at the path. */
  markDeleted(path: string): void;
  /** Makes the folder hide what lower layers of an overlay have in theirs. */
  markOpaque(path: string): void;
  /** Opens a file of a memory file system, whose descriptor it takes over, to map parts of it. */
  openSharedFile(fd: number): SharedFileHandle;
  /**
   * Makes a channel (docs/fabric.md): the descriptors of its two sides, which are the caller's to pass on or close. Its
   * memory is taken by who opens a side first.
   */
  createChannel(ringBytes: number): [ChannelFds, ChannelFds];
  /** Takes the descriptors over. `onBell` is called when the peer has struck, and once with true when it is gone. */
  openChannel(fds: ChannelFds, onBell: (gone: boolean) => void): ChannelHandle;
  /**
   * Listens for packets with descriptors (unix(7): SOCK_SEQPACKET, SCM_RIGHTS) at a path of at most 107 bytes, in place
   * of a stale socket. `onSocket` is given each socket that dials, to open or close; it must not throw. `asStream`: of
   * SOCK_STREAM instead, for runtimes that send descriptors so.
   */
  listenPackets(path: string, onSocket: (socket: number) => void, asStream?: boolean): { close(): void };
  /** A socket connected to such a path. Throws EAGAIN when too many dial at once. */
  dialPackets(path: string): number;
  /**
   * Takes the socket over. `onPacket` is given each packet (at most 4096 bytes) with its descriptors (at most 3), which
   * are its to close. `onEnd` is called once, unless close() was: with an error (EMSGSIZE, EMFILE) when the other side
   * sent more than that. Neither must throw.
   */
  openPackets(
    socket: number,
    onPacket: (bytes: Buffer, fds: number[]) => void,
    onEnd: (error: NodeJS.ErrnoException | undefined) => void,
  ): PacketHandle;
  /**
   * Starts a relay (docs/fabric.md, "Between hosts"): a thread that moves records between local channels and the relay of
   * another host. `streamBytes`: memory of each direction of a connection, a power of two from 64 KiB to 64 MiB, the same
   * on all hosts; `spinUs`: as long as the thread may look for news before it sleeps; `resumeMs`: as long as a connection
   * may be without carrier. `onEvents` must not throw. It ends with stop() or with the environment.
   */
  startRelay(
    options: { streamBytes: number; spinUs: number; resumeMs: number },
    onEvents: (events: RelayEvent[]) => void,
  ): RelayHandle;
  /** Null, or why what goes to other hosts cannot be encrypted here. */
  probeEncryption(): string | null;
  /** What this host has of RDMA now. */
  probeRdma(): RdmaProbe;
  createProfiler(): CpuProfilerHandle;
  createStackProfiler(): StackProfilerHandle;
  createActivityProfiler(): ActivityProfilerHandle;
  /** Absolute path of the shoal-shim executable. */
  shimPath(): string;
}

export interface MappedPart {
  /** Empty after unmap(). */
  readonly buffer: ArrayBuffer;
  /** At once; else it is unmapped when the buffer is collected. */
  unmap(): void;
}

export interface SharedFileHandle {
  readonly bytes: number;
  /** Offsets are multiples of 4096. Takes no memory of the host by itself. */
  map(offset: number, length: number): MappedPart;
  /** Takes memory for a part, so that no access to it can fail. Throws ENOSPC or ENOMEM when there is none. */
  reserve(offset: number, length: number): void;
  /** Gives the memory of a part back; it reads as zeros. */
  release(offset: number, length: number): void;
  /** What is mapped stays so. */
  close(): void;
}

/** Descriptors: of the shared memory, and of the pipes that wake the peer and us. */
export interface ChannelFds {
  memory: number;
  strike: number;
  listen: number;
}

export interface ChannelHandle {
  /** The shared memory; empty after close(). */
  readonly buffer: ArrayBuffer;
  readonly ringBytes: number;
  /** Wakes the peer. */
  strike(): void;
  close(): void;
}

export interface PacketHandle {
  /**
   * Never waits. Takes the descriptors over, also when it throws: EAGAIN when the other side does not read, EPIPE when
   * it is gone, EMSGSIZE when it is too much.
   */
  send(bytes: Uint8Array, fds: number[]): void;
  close(): void;
}

/** Every method throws when the relay is stopped, and where it says so. */
export interface RelayHandle {
  /** Once: where other relays dial; port 0 for any. Answers the port. Throws when that cannot be. */
  listen(address: string, port: number): number;
  /** A connection to another host, without carrier. Throws when there is no memory for it. */
  open(): number;
  /** Ends it and its channels; nothing when it has ended. */
  close(connection: number): void;
  /** Of a connection that has not ended. */
  stats(connection: number): RelayStats | undefined;
  /** Who dials within 10 s and shows `theirs` is this connection's peer, and is shown `ours`. Tokens have 32 bytes. */
  expect(connection: number, theirs: Uint8Array, ours: Uint8Array, secrets: CarrierSecrets | null): void;
  /**
   * Connects by TCP, showing `ours`: carrier-up or dial-failed follows. Throws when it cannot even begin. With secrets all
   * is encrypted, by AES-256-GCM.
   */
  dial(
    connection: number,
    address: string,
    port: number,
    ours: Uint8Array,
    theirs: Uint8Array,
    secrets: CarrierSecrets | null,
  ): void;
  /** First half of a carrier by verbs, on the port with this IP address. Throws why there is none. */
  prepareVerbs(connection: number, address: string): VerbsParameters;
  /**
   * Second half, with what the peer's relay prepared: carrier-up or dial-failed follows. `first`: speaks first, thus the
   * peer must have done this before.
   */
  connectVerbs(connection: number, theirs: VerbsParameters, first: boolean): void;
  /** Throws the carrier away, as if it had failed. */
  drop(connection: number): void;
  /** Puts the queues of a carrier by verbs into the error state. For tests. */
  breakQueues(connection: number): void;
  /**
   * Takes one side of a channel over, descriptors included, even when it throws. The number is the agents' choice, the same
   * on both hosts, and never used again on this connection. Throws when it is in use or the ring too large.
   */
  attach(connection: number, channel: number, fds: ChannelFds, side: 0 | 1): void;
  /** Ends a channel from this side, after what was sent so far. */
  detach(connection: number, channel: number): void;
  stop(): void;
}

export type RelayCarrier = 'tcp' | 'verbs';

/** For one carrier alone: of 32 random bytes for each direction, the peer's being the other way round. */
export interface CarrierSecrets {
  out: Uint8Array;
  in: Uint8Array;
}

/** A `reason` of a carrier: what came was not what the peer sent. */
export type RelayEvent =
  | { type: 'carrier-up'; connection: number; carrier: RelayCarrier }
  | { type: 'carrier-down'; connection: number; carrier: RelayCarrier; reason?: 'forged'; detail: string }
  /** There is none until another is up or has failed. */
  | { type: 'carrier-replaced'; connection: number; carrier: RelayCarrier; detail: string }
  | { type: 'dial-failed'; connection: number; carrier: RelayCarrier; reason?: 'forged'; detail: string }
  | { type: 'channel-ended'; connection: number; channel: number; reason: RelayEndReason; byPeer: boolean }
  | { type: 'connection-ended'; connection: number; reason: RelayEndReason; detail: string };

/** ended: the process at the channel's other end; corrupt: that process broke its ring; protocol: the peer's relay did. */
export type RelayEndReason = 'ended' | 'corrupt' | 'too-long' | 'detached' | 'protocol' | 'unreachable' | 'closed';

export interface RelayStats {
  carrier: 'none' | RelayCarrier;
  channels: number;
  /** How many carriers have been up so far. */
  carriers: number;
  recordsOut: number;
  recordsIn: number;
  bytesOut: number;
  bytesIn: number;
  /** Sent, and not yet said to be processed. */
  bytesInFlight: number;
}

/** What the two sides of a carrier by verbs must know of each other. */
export interface VerbsParameters {
  gid: string;
  qpNumber: number;
  psn: number;
  /** As in enum ibv_mtu: 1 is 256 bytes, 5 is 4096. */
  mtu: number;
  remoteKey: number;
  /** A number of 64 bits, in decimal. */
  address: string;
  streamBytes: number;
}

export interface RdmaProbe {
  /** Why libibverbs cannot be used; null when it can. */
  problem: string | null;
  /** All RoCE v2 addresses of this host. */
  ports: { device: string; port: number; gid: string; interface: string; active: boolean; state: string }[];
}

export interface PidWatch {
  close(): void;
}

/** Of a cgroup since it was first watched. */
export interface CpuTimes {
  cpuSeconds: number;
  /** In which its tasks could have run but had to wait for a CPU; of a run that lasts still, not yet. */
  runDelaySeconds: number;
  /** Page faults served from memory, and those that had to wait for a disk; of a run that lasts still, not yet. */
  faultsMinor: number;
  faultsMajor: number;
}

/** CPU time by cgroup, from the scheduler in BPF. */
export interface CpuProfilerHandle {
  /** Loads and attaches the program; throws with the kernel's reason. */
  start(): void;
  watch(cgroupPath: string): void;
  unwatch(cgroupPath: string): void;
  read(): Map<string, CpuTimes>;
  /** How often the BPF program ran, and for how many seconds of CPU in all, since this was first asked. */
  cost(): { runs: number; seconds: number };
  close(): void;
}

/** What a cgroup did besides running, since it was first watched. Absent: not counted here. */
export interface Activity {
  systemCalls?: number;
  /** In them, of those that have returned; waiting is part of it. */
  systemCallSeconds?: number;
  blockReads?: number;
  blockWrites?: number;
  blockReadBytes?: number;
  blockWriteBytes?: number;
  /** From being asked for until done, of all. */
  blockSeconds?: number;
  /** By sockets of IPv4 and IPv6, without headers. */
  sentBytes?: number;
  receivedBytes?: number;
  /** TCP segments sent again. */
  retransmits?: number;
  /** TCP connections made by it, the time until they were there, and attempts that failed. */
  connects?: number;
  connectSeconds?: number;
  connectsFailed?: number;
}

export type ActivityDetail = { cgroup: string; count: number; seconds: number; name: string } & (
  | { kind: 'minor fault' | 'major fault' | 'system call' }
  | { kind: 'peer'; retransmits: number; failed: number }
);

/** Block I/O of a cgroup since it was watched, by how long it took. */
export interface BlockCounts {
  cgroup: string;
  /** Place i: those that took less than 2^i µs and no less than half of that; the last one: all longer ones. */
  buckets: number[];
}

/** Counts of what cgroups do, by tracepoints of the kernel. */
export interface ActivityProfilerHandle {
  /**
   * Loads the programs; `systemCalls`: those too, which makes every system call of the host some 0.2 µs longer, of watched
   * cgroups 0.4 µs. Answers what this kernel cannot count, and why. Throws where it can count nothing.
   */
  start(systemCalls: boolean): Record<string, string>;
  watch(cgroupPath: string): void;
  unwatch(cgroupPath: string): void;
  read(): Map<string, Activity>;
  /**
   * By mapping, system call and peer, since the last drain; `blocks`: of those that have done block I/O; `lost`: things for
   * which there was no place, since the start.
   */
  drain(): { lost: number; details: ActivityDetail[]; blocks: BlockCounts[] };
  /** How often the BPF programs ran, and for how many seconds of CPU in all, since this was first asked. */
  cost(): { runs: number; seconds: number };
  close(): void;
}

/** Where the watched cgroups' time goes: stacks by a clock on each CPU, and what they wait in. */
export interface StackProfilerHandle {
  /**
   * Loads the programs and opens the clocks, of 1 to 1000 Hz. `offCpu`: waits too. Answers what this kernel cannot do, and
   * why. Throws with the kernel's reason where it can do nothing.
   */
  start(hertz: number, offCpu: boolean): Record<string, string>;
  watch(cgroupPath: string): void;
  /** What was sampled until now still comes with the next drain. */
  unwatch(cgroupPath: string): void;
  /** What was sampled since the last drain, with names. One at a time. */
  drain(): Promise<DrainedStacks>;
  /** How often the BPF programs ran, and for how many seconds of CPU in all, since this was first asked. */
  cost(): { runs: number; seconds: number };
  close(): void;
}

export type StackKind = 'cpu' | 'off-cpu';

export interface DrainedStacks {
  /** Samples for which there was no place, since the start. */
  lost: number;
  stacks: {
    cgroup: string;
    kind: StackKind;
    pid: number;
    count: number;
    /** That the samples stand for. */
    seconds: number;
    /** Places in `functions`, leaf first. */
    frames: number[];
  }[];
  /** `calledAt`: of one that was inlined into the function that comes after it in stacks, as `/src/x.c:12`. */
  functions: { name: string; file: string; calledAt?: string }[];
  /** Files, by their last names, whose `.eh_frame` has no table in the kernel: their functions are walked by frame pointers. */
  tablesLeftOut: { file: string; why: 'too large' | 'no room' }[];
  /**
   * Files, by their last names, of which is not told what was inlined: their debug information could not be read, or is
   * in files of its own for each unit (-gsplit-dwarf).
   */
  inlinesLeftOut: { file: string; why: 'unreadable' | 'split' }[];
  /** CPU time of the processes that read debug information, in s, since the start. */
  inlinesSeconds: number;
}
