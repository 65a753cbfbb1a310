//! Publishes what C libraries and child processes write to file descriptors 1 and 2 as output of the cell that runs.
//!
//! A pipe replaces each of the two, and a thread reads both. It never takes the GIL, so a C call that holds the GIL and
//! prints megabytes cannot deadlock.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::os::fd::{duplicate, pipe, set_nonblocking};
use crate::os::signals::block_all;
use crate::os::wake_fd::WakeFd;
use crate::publisher::{Publisher, Urgency};
use crate::wire::content::StreamName;

/// The descriptors 1 and 2 of the process, redirected.
pub struct Capture {
    pipes: [Mutex<Pipe>; 2],
    /// The descriptors that were 1 and 2 before.
    saved: [OwnedFd; 2],
    publisher: Publisher,
    stop: WakeFd,
    room: Arc<WakeFd>,
}

struct Pipe {
    reader: File,
    name: StreamName,
    /// The first bytes of a character whose rest has not come yet.
    partial: Vec<u8>,
}

impl Capture {
    /// Redirects both descriptors and starts the thread that reads them.
    pub fn start(publisher: Publisher) -> io::Result<Arc<Self>> {
        let (stdout, into_stdout) = pipe()?;
        let (stderr, into_stderr) = pipe()?;
        let saved = [duplicate(1)?, duplicate(2)?];
        set_nonblocking(&stdout)?;
        set_nonblocking(&stderr)?;
        redirect(&into_stdout, 1)?;
        redirect(&into_stderr, 2)?;
        let pipe = |reader, name| Mutex::new(Pipe { reader: File::from(reader), name, partial: Vec::new() });
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
            let mut pipe = pipe.lock().unwrap_or_else(PoisonError::into_inner);
            // No more than that: a process that writes without a pause would keep the calling thread here.
            let mut left = pipe.waiting();
            while left > 0 {
                match pipe.read_some(&self.publisher) {
                    0 => break,
                    count => left = left.saturating_sub(count),
                }
            }
        }
    }

    /// Restores the descriptors and stops reading.
    pub fn stop(&self) {
        self.drain();
        for (saved, fd) in self.saved.iter().zip([1, 2]) {
            if let Err(error) = redirect(saved, fd) {
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
        let fds = self
            .pipes
            .each_ref()
            .map(|p| p.lock().unwrap_or_else(PoisonError::into_inner).reader.as_raw_fd());
        let watch = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        let mut watched = [watch(fds[0]), watch(fds[1]), watch(self.stop.fd())];
        loop {
            // SAFETY: three pollfds that outlive the call.
            let ready = unsafe { libc::poll(watched.as_mut_ptr(), 3, -1) };
            if ready < 0 {
                let error = io::Error::last_os_error();
                if error.kind() == io::ErrorKind::Interrupted {
                    continue;
                }
                tracing::error!(%error, "output of C code and child processes is no longer shown");
                return;
            }
            if watched[2].revents != 0 {
                return;
            }
            for (pipe, watched) in self.pipes.iter().zip(&watched) {
                if watched.revents != 0 {
                    pipe.lock().unwrap_or_else(PoisonError::into_inner).read_some(&self.publisher);
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
    /// How many bytes can be read at once.
    fn waiting(&self) -> usize {
        let mut count: libc::c_int = 0;
        // SAFETY: an open descriptor, and room for the number.
        let status = unsafe { libc::ioctl(self.reader.as_raw_fd(), libc::FIONREAD, &raw mut count) };
        if status == 0 { usize::try_from(count).unwrap_or_default() } else { 0 }
    }

    /// Reads once. Returns how many bytes there were.
    fn read_some(&mut self, publisher: &Publisher) -> usize {
        let mut buffer = [0_u8; 16 * 1024];
        match self.reader.read(&mut buffer) {
            Ok(count) if count > 0 => {
                self.partial.extend_from_slice(&buffer[..count]);
                let whole = whole_characters(&self.partial);
                let text = String::from_utf8_lossy(&self.partial[..whole]);
                publisher.foreign_text(&publisher.foreground(), self.name, &text);
                self.partial.drain(..whole);
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

fn redirect(target: &OwnedFd, fd: RawFd) -> io::Result<()> {
    // SAFETY: `target` is open; `fd` is 1 or 2, which child processes are to inherit.
    if unsafe { libc::dup2(target.as_raw_fd(), fd) } < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
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
