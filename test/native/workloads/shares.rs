//! Spends 60, 30 and 10 percent of its CPU time in functions of these names, each called by work(). With `inlined` they
//! are parts of work(). As shares.c says, the length of a turn differs by lot, and each step waits for the one before it.
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

static SINK: AtomicU64 = AtomicU64::new(0);

#[inline(always)]
fn step(value: u64) -> u64 {
    (value ^ (value >> 29)).wrapping_mul(6364136223846793005)
}

#[inline(always)]
fn spend(rounds: u64) {
    let mut value = SINK.load(Relaxed);
    for _ in 0..rounds {
        value = step(value);
    }
    SINK.store(value, Relaxed);
}

/// Names with a type and a trait in them, as most of Rust's have.
trait Share {
    fn sixty(&self);
    fn thirty(&self);
    fn ten(&self);
}

struct Turn {
    length: u64,
}

impl Share for Turn {
    #[cfg_attr(inlined, inline(always))]
    #[cfg_attr(not(inlined), inline(never))]
    fn sixty(&self) {
        spend(6 * self.length);
    }

    #[cfg_attr(inlined, inline(always))]
    #[cfg_attr(not(inlined), inline(never))]
    fn thirty(&self) {
        spend(3 * self.length);
    }

    #[cfg_attr(inlined, inline(always))]
    #[cfg_attr(not(inlined), inline(never))]
    fn ten(&self) {
        spend(self.length);
    }
}

// It writes at its end, so that the last call is no jump, which would leave no trace of this function.
#[inline(never)]
fn work<T: Share>(turn: &T) {
    turn.sixty();
    turn.thirty();
    turn.ten();
    SINK.fetch_add(1, Relaxed);
}

fn main() {
    let mut lots: u64 = 1;
    loop {
        lots = lots.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        work(&Turn { length: 5000 + (lots >> 33) % 10000 });
    }
}
