//! The inbox of a Caller's thread: the one place where work crosses from Rust into Python.
//!
//! A Rust thread pushes and, if the reader has been idle, rings a wake fd (a descriptor). The thread's event
//! loop watches that descriptor and drains the inbox. No step needs the GIL on the pushing side.

use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::os::wake_fd::WakeFd;

/// A queue with a descriptor that is readable while there is something new in it.
pub struct Inbox<W> {
    queue: Mutex<Queue<W>>,
}

struct Queue<W> {
    work: VecDeque<W>,
    /// The wake fd has been notified and the reader has not come yet.
    armed: bool,
    /// None when the reader is gone for good: the descriptor is free, whoever may still hold the inbox.
    wake_fd: Option<Arc<WakeFd>>,
}

impl<W> Queue<W> {
    /// The wake fd, if the reader is to be woken; to be rung when the lock is released: the reader would only wait for
    /// that.
    fn arm(&mut self) -> Option<Arc<WakeFd>> {
        if std::mem::replace(&mut self.armed, true) { None } else { self.wake_fd.clone() }
    }
}

impl<W> Inbox<W> {
    /// An empty inbox.
    pub fn new() -> io::Result<Self> {
        let wake_fd = Some(Arc::new(WakeFd::new()?));
        Ok(Self { queue: Mutex::new(Queue { work: VecDeque::new(), armed: false, wake_fd }) })
    }

    /// Adds work and wakes the reader. Hands the work back if the reader is gone.
    pub fn push(&self, work: W) -> Result<(), W> {
        let mut queue = self.lock();
        if queue.wake_fd.is_none() {
            return Err(work);
        }
        queue.work.push_back(work);
        notify(queue);
        Ok(())
    }

    /// Wakes the reader, for work that is somewhere else.
    pub fn notify(&self) {
        notify(self.lock());
    }

    /// Takes everything. The wake fd is silenced before the queue is read: the other order loses wake-ups.
    pub fn drain(&self) -> VecDeque<W> {
        let mut queue = self.lock();
        if let Some(wake_fd) = &queue.wake_fd {
            wake_fd.clear();
        }
        queue.armed = false;
        std::mem::take(&mut queue.work)
    }

    /// Refuses all further work and returns what was never taken. Nobody may watch the descriptor any more.
    pub fn close(&self) -> VecDeque<W> {
        let mut queue = self.lock();
        queue.wake_fd = None;
        std::mem::take(&mut queue.work)
    }

    /// How much waits to be taken.
    pub fn len(&self) -> usize {
        self.lock().work.len()
    }

    /// Whether nothing waits to be taken.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The descriptor that is readable while there is something to drain; -1 once it is closed.
    pub fn fd(&self) -> RawFd {
        self.lock().wake_fd.as_ref().map_or(-1, |wake_fd| wake_fd.fd())
    }

    /// Blocks until there is something to drain.
    pub fn wait(&self) -> io::Result<()> {
        let wake_fd = self.lock().wake_fd.clone();
        wake_fd.map_or(Ok(()), |wake_fd| wake_fd.wait())
    }

    fn lock(&self) -> MutexGuard<'_, Queue<W>> {
        // Every critical section leaves the queue whole, even one that panics.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn notify<W>(mut queue: MutexGuard<'_, Queue<W>>) {
    let wake_fd = queue.arm();
    drop(queue);
    if let Some(wake_fd) = wake_fd {
        wake_fd.notify();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;
    use std::thread;

    use super::*;

    #[test]
    fn keeps_order_and_hands_back_after_close() {
        let inbox = Inbox::new().unwrap();
        for n in 0..3 {
            inbox.push(n).unwrap();
        }
        assert_eq!(inbox.drain(), [0, 1, 2]);
        inbox.push(3).unwrap();
        assert_eq!(inbox.close(), [3]);
        assert_eq!(inbox.push(4), Err(4));
    }

    /// Whether the reader's event loop would be woken.
    fn is_readable(inbox: &Inbox<u8>) -> bool {
        let mut watched = libc::pollfd { fd: inbox.fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one descriptor, which is open as long as the inbox.
        unsafe { libc::poll(&raw mut watched, 1, 0) == 1 }
    }

    #[test]
    fn a_ring_wakes_the_reader_once_though_there_is_nothing_to_drain() {
        let inbox = Inbox::new().unwrap();
        assert!(!is_readable(&inbox));
        inbox.notify();
        inbox.notify();
        assert!(is_readable(&inbox));
        inbox.wait().unwrap();
        assert!(inbox.drain().is_empty());
        assert!(!is_readable(&inbox), "both rings were for the same reading");
        inbox.notify();
        assert!(is_readable(&inbox));
    }

    #[test]
    fn rings_and_work_do_not_swallow_each_other() {
        let inbox = Inbox::new().unwrap();
        for ring_first in [true, false] {
            if ring_first {
                inbox.notify();
            }
            inbox.push(1).unwrap();
            inbox.notify();
            assert!(is_readable(&inbox));
            assert_eq!(inbox.drain(), [1]);
            assert!(!is_readable(&inbox));
        }
    }

    #[test]
    fn a_closed_inbox_has_no_descriptor_and_nobody_waits_for_it() {
        let inbox = Inbox::new().unwrap();
        assert!(inbox.close().is_empty());
        inbox.notify();
        assert_eq!(inbox.push(1), Err(1));
        assert_eq!(inbox.fd(), -1);
        inbox.wait().unwrap();
    }

    #[test]
    fn no_wake_up_is_lost_in_20_000_rounds() {
        // Four threads push while the reader sleeps between drains. If one wake-up were lost, the reader
        // would wait for ever.
        let inbox = Arc::new(Inbox::new().unwrap());
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let inbox = inbox.clone();
                thread::spawn(move || {
                    for n in 0..5_000 {
                        inbox.push((writer, n)).unwrap();
                        if n % 7 == 0 {
                            thread::yield_now();
                        }
                    }
                })
            })
            .collect();
        let mut next = [0; 4];
        while next.iter().sum::<i32>() < 20_000 {
            inbox.wait().unwrap();
            for (writer, n) in inbox.drain() {
                assert_eq!(n, next[writer], "each writer's order is kept");
                next[writer] += 1;
            }
        }
        for writer in writers {
            writer.join().unwrap();
        }
    }
}
