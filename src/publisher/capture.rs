//! Publishes what C libraries and child processes write to file descriptors 1 and 2 as output of the cell that runs.
//!
//! A pipe replaces each of the two, and a thread reads both. It never takes the GIL, so a C call that holds the GIL and
//! prints megabytes cannot deadlock.

use std::io::{self, PipeReader, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, ioctl_fionbio, ioctl_fionread};
use rustix::stdio::{dup2_stderr, dup2_stdout};

use crate::os::signals::block_all;
use crate::os::wake_fd::WakeFd;
use crate::publisher::{Publisher, Urgency};
use crate::wire::content::StreamName;

/// The descriptors 1 and 2 of the process, redirected.
pub struct Capture {
    pipes: [Pipe; 2],
    /// The descriptors that were 1 and 2 before.
    saved: [OwnedFd; 2],
    publisher: Publisher,
    stop: WakeFd,
    room: Arc<WakeFd>,
}

struct Pipe {
    /// Read with `partial` locked.
    reader: PipeReader,
    name: StreamName,
    /// The first bytes of a character whose rest has not come yet.
    partial: Mutex<Vec<u8>>,
}

impl Capture {
    /// Redirects both descriptors and starts the thread that reads them.
    pub fn start(publisher: Publisher) -> io::Result<Arc<Self>> {
        let (stdout, into_stdout) = io::pipe()?;
        let (stderr, into_stderr) = io::pipe()?;
        let saved = [io::stdout().as_fd().try_clone_to_owned()?, io::stderr().as_fd().try_clone_to_owned()?];
        ioctl_fionbio(&stdout, true)?;
        ioctl_fionbio(&stderr, true)?;
        dup2_stdout(&into_stdout)?;
        dup2_stderr(&into_stderr)?;
        let pipe = |reader, name| Pipe { reader, name, partial: Mutex::default() };
        let capture = Arc::new(Self {
            pipes: [pipe(stdout, StreamName::Stdout), pipe(stderr, StreamName::Stderr)],
            saved,
            publisher,
            stop: WakeFd::new()?,
            room: Arc::new(WakeFd::new()?),
        });
        let reader = capture.clone();
        thread::Builder::new().name("callboard-capture".into()).spawn(move || reader.run())?;
        Ok(capture)
    }

    /// Publishes what has been written so far, so that it comes before what is published next.
    pub fn drain(&self) {
        for pipe in &self.pipes {
            let mut partial = pipe.lock();
            // No more than that: a process that writes without a pause would keep the calling thread here.
            let mut left = pipe.waiting();
            while left > 0 {
                match pipe.read_some(&mut partial, &self.publisher) {
                    0 => break,
                    count => left = left.saturating_sub(count),
                }
            }
        }
    }

    /// Restores the descriptors and stops reading.
    pub fn stop(&self) {
        self.drain();
        let [stdout, stderr] = &self.saved;
        for (given, fd) in [(dup2_stdout(stdout), 1), (dup2_stderr(stderr), 2)] {
            if let Err(error) = given {
                tracing::error!(%error, fd, "a descriptor could not be given back");
            }
        }
        self.stop.notify();
    }

    fn run(&self) {
        crate::os::panic::mark_thread();
        if let Err(error) = block_all() {
            tracing::warn!(%error, "signals may reach the capture thread");
        }
        let [stdout, stderr] = &self.pipes;
        let mut watched = [
            PollFd::new(&stdout.reader, PollFlags::IN),
            PollFd::new(&stderr.reader, PollFlags::IN),
            PollFd::new(&self.stop, PollFlags::IN),
        ];
        loop {
            match poll(&mut watched, None) {
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(error) => {
                    tracing::error!(%error, "output of C code and child processes is no longer shown");
                    return;
                }
            }
            if !watched[2].revents().is_empty() {
                return;
            }
            for (pipe, watched) in self.pipes.iter().zip(&watched) {
                if !watched.revents().is_empty() {
                    pipe.read_some(&mut pipe.lock(), &self.publisher);
                }
            }
            if self.publisher.is_congested(Urgency::Output) {
                // Meanwhile writers block on the full pipe.
                self.publisher.when_room(Urgency::Output, self.room.clone());
                if let Err(error) = self.room.wait() {
                    tracing::error!(%error, "output of C code and child processes is no longer held back");
                }
                self.room.clear();
            }
        }
    }
}

impl Pipe {
    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.partial.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many bytes can be read at once.
    fn waiting(&self) -> usize {
        ioctl_fionread(&self.reader).map_or(0, |count| usize::try_from(count).unwrap_or_default())
    }

    /// Reads once. Returns how many bytes there were.
    fn read_some(&self, partial: &mut Vec<u8>, publisher: &Publisher) -> usize {
        let mut buffer = [0_u8; 16 * 1024];
        match (&self.reader).read(&mut buffer) {
            Ok(count) if count > 0 => {
                partial.extend_from_slice(&buffer[..count]);
                let whole = whole_characters(partial);
                let text = String::from_utf8_lossy(&partial[..whole]);
                publisher.foreign_text(&publisher.foreground(), self.name, &text);
                partial.drain(..whole);
                count
            }
            _ => 0,
        }
    }
}

/// How many bytes there are before a character that is cut off at the end.
fn whole_characters(bytes: &[u8]) -> usize {
    for back in 1..=bytes.len().min(3) {
        let at = bytes.len() - back;
        let needed = match bytes[at] {
            0xf0..=0xf7 => 4,
            0xe0..=0xef => 3,
            0xc0..=0xdf => 2,
            0x80..=0xbf => continue,
            _ => 1,
        };
        return if needed > back { at } else { bytes.len() };
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_is_never_cut() {
        for text in ["", "a", "é", "日本", "🎭", "a🎭"] {
            let bytes = text.as_bytes();
            assert_eq!(whole_characters(bytes), bytes.len(), "{text}");
            for end in 0..bytes.len() {
                let whole = whole_characters(&bytes[..end]);
                assert!(std::str::from_utf8(&bytes[..whole]).is_ok(), "{text} cut at {end}");
                assert!(end - whole <= 3);
            }
        }
        assert_eq!(whole_characters(b"\xff\xff"), 2, "what is not UTF-8 is not waited for");
    }
}
