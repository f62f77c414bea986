/** What the agent needs of the host that plain Node cannot do. Failed system calls throw as Node's own do. */
export interface NativeHost {
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
  /** Tells systemd; false when not started by it. */
  sdNotify(state: string): boolean;
  /** Makes a channel (docs/fabric.md): the descriptors of its two sides, which are the caller's to pass on or close. */
  createChannel(ringBytes: number, hugePages: boolean): [ChannelFds, ChannelFds];
  /** Takes the descriptors over. `onBell` is called when the peer has struck, and once with true when it is gone. */
  openChannel(fds: ChannelFds, onBell: (gone: boolean) => void): ChannelHandle;
  createProfiler(): CpuProfilerHandle;
  /** Absolute path of the shoal-shim executable. */
  shimPath(): string;
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

export interface PidWatch {
  close(): void;
}

/** CPU time by cgroup, from the scheduler in BPF. */
export interface CpuProfilerHandle {
  /** Loads and attaches the program; throws with the kernel's reason. */
  start(): void;
  watch(cgroupPath: string): void;
  unwatch(cgroupPath: string): void;
  /** CPU seconds of each watched cgroup since it was first watched. */
  read(): Map<string, number>;
  /** How often the BPF program ran and for how many seconds of CPU in all. */
  cost(): { runs: number; seconds: number };
  close(): void;
}
