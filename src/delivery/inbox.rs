//! The inbox of a Caller's thread: the only place where work crosses from Rust into Python.
//!
//! A Rust thread pushes and, if the reader has been idle, notifies a wake fd. The event loop of the reader watches that
//! descriptor and drains the inbox. Pushing never needs the GIL.

use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::os::wake_fd::WakeFd;

/// A queue with a descriptor that is readable while it has new work.
pub struct Inbox<W> {
    queue: Mutex<Queue<W>>,
}

struct Queue<W> {
    work: VecDeque<W>,
    /// The wake fd has been notified and the reader has not drained yet.
    armed: bool,
    /// None when the reader has ended: the descriptor is free, even while others hold the inbox.
    wake_fd: Option<Arc<WakeFd>>,
}

impl<W> Queue<W> {
    /// Returns the wake fd if the reader needs waking. Notify it after unlocking, or the reader wakes only to block.
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

    /// Adds work and wakes the reader. Returns the work if the reader has ended.
    pub fn push(&self, work: W) -> Result<(), W> {
        let mut queue = self.lock();
        if queue.wake_fd.is_none() {
            return Err(work);
        }
        queue.work.push_back(work);
        notify(queue);
        Ok(())
    }

    /// Wakes the reader for work in another queue.
    pub fn notify(&self) {
        notify(self.lock());
    }

    /// Takes everything. Clears the wake fd before it reads the queue; the other order loses wake-ups.
    pub fn drain(&self) -> VecDeque<W> {
        let mut queue = self.lock();
        if let Some(wake_fd) = &queue.wake_fd {
            wake_fd.clear();
        }
        queue.armed = false;
        std::mem::take(&mut queue.work)
    }

    /// Refuses further work and returns what was never taken. The descriptor must not be watched any more.
    pub fn close(&self) -> VecDeque<W> {
        let mut queue = self.lock();
        queue.wake_fd = None;
        std::mem::take(&mut queue.work)
    }

    /// How many pieces of work wait.
    pub fn len(&self) -> usize {
        self.lock().work.len()
    }

    /// Whether no work waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The descriptor that is readable while there is work; -1 once it is closed.
    pub fn fd(&self) -> RawFd {
        self.lock().wake_fd.as_ref().map_or(-1, |wake_fd| wake_fd.fd())
    }

    /// Blocks until there is work.
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
    fn a_notification_wakes_the_reader_once_though_there_is_no_work() {
        let inbox = Inbox::new().unwrap();
        assert!(!is_readable(&inbox));
        inbox.notify();
        inbox.notify();
        assert!(is_readable(&inbox));
        inbox.wait().unwrap();
        assert!(inbox.drain().is_empty());
        assert!(!is_readable(&inbox), "both notifications were for the same reading");
        inbox.notify();
        assert!(is_readable(&inbox));
    }

    #[test]
    fn notifications_and_work_do_not_swallow_each_other() {
        let inbox = Inbox::new().unwrap();
        for notify_first in [true, false] {
            if notify_first {
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
    fn a_closed_inbox_has_no_descriptor_and_wait_returns() {
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
        // would wait without end.
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
