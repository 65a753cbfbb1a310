//! The terminal that the kernel was started on: logs and fatal errors go there.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;

use rustix::event::{FdSetElement, PollFd, PollFlags, Timespec, fd_set_insert, poll, select};
use tracing_subscriber::fmt::MakeWriter;

/// Writes to the original standard error without ever blocking: a stopped terminal, or a pipe that its reader does not
/// read, would otherwise stop the thread that serves the sockets at its next line of log. Text that there is no room for
/// is dropped.
#[derive(Clone)]
pub struct Terminal(Arc<File>);

impl Terminal {
    /// Takes the open file of the terminal.
    pub fn new(file: File) -> Self {
        Self(Arc::new(file))
    }

    fn has_room(&self) -> bool {
        let mut watched = [PollFd::new(&*self.0, PollFlags::OUT)];
        let found = poll(&mut watched, Some(&AT_ONCE));
        let events = watched[0].revents();
        if events.contains(PollFlags::NVAL) {
            // macOS cannot poll some devices, /dev/tty among them.
            return has_room_by_select(self.0.as_fd());
        }
        found == Ok(1) && events.contains(PollFlags::OUT)
    }
}

/// Does not wait.
const AT_ONCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// The descriptors that `select` can watch are below this number (`FD_SETSIZE`).
const SELECTABLE: usize = 1024;

/// Asks `select`, which knows every device but not every descriptor: there is no room behind one that it cannot watch.
/// Allocates nothing.
fn has_room_by_select(fd: BorrowedFd<'_>) -> bool {
    let fd = fd.as_raw_fd();
    if !usize::try_from(fd).is_ok_and(|fd| fd < SELECTABLE) {
        return false;
    }
    // An element holds at least 32.
    let mut writable = [FdSetElement::default(); SELECTABLE / 32];
    fd_set_insert(&mut writable, fd);
    // SAFETY: the descriptor is open, and the set is large enough for it.
    unsafe { select(fd + 1, None, Some(&mut writable), None, Some(&AT_ONCE)) == Ok(1) }
}

impl AsRawFd for Terminal {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl Write for Terminal {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        if !self.has_room() {
            return Ok(text.len());
        }
        // A pipe that has any room takes this many bytes at once (POSIX).
        (&*self.0).write(&text[..text.len().min(libc::PIPE_BUF)])
    }

    fn flush(&mut self) -> io::Result<()> {
        (&*self.0).flush()
    }
}

impl<'a> MakeWriter<'a> for Terminal {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::{Read, pipe};
    use std::os::fd::OwnedFd;

    use super::*;

    #[test]
    fn text_without_room_is_dropped_and_later_text_is_written() {
        let (mut reader, writer) = pipe().unwrap();
        let mut terminal = Terminal::new(File::from(OwnedFd::from(writer)));
        // More than any pipe holds: a blocking write would never return.
        for _ in 0..100_000 {
            terminal.write_all(b"a line without a reader, of sixty bytes or so of text .......\n").unwrap();
        }
        let mut some = vec![0; 1 << 16];
        let kept = reader.read(&mut some).unwrap();
        assert!(some[..kept].starts_with(b"a line without a reader"));
        terminal.write_all(b"the last line\n").unwrap();
        drop(terminal);
        let mut rest = String::new();
        reader.read_to_string(&mut rest).unwrap();
        assert!(rest.ends_with("the last line\n"), "{rest:.200}");
    }

    #[test]
    fn select_finds_room_as_poll_does() {
        crate::os::limits::raise_open_files();
        let (reader, mut writer) = pipe().unwrap();
        assert!(has_room_by_select(writer.as_fd()));
        rustix::io::ioctl_fionbio(&writer, true).unwrap();
        while writer.write(&[0; libc::PIPE_BUF]).is_ok() {}
        assert!(!has_room_by_select(writer.as_fd()));
        let mut some = vec![0; 1 << 16];
        assert!((&reader).read(&mut some).unwrap() >= libc::PIPE_BUF);
        assert!(has_room_by_select(writer.as_fd()));
        let beyond = rustix::io::fcntl_dupfd_cloexec(&writer, 1024).unwrap();
        assert!(!has_room_by_select(beyond.as_fd()));
    }

    #[test]
    fn long_text_is_written_whole_where_there_is_room() {
        let (mut reader, writer) = pipe().unwrap();
        let mut terminal = Terminal::new(File::from(OwnedFd::from(writer)));
        let text = "0123456789".repeat(300);
        terminal.write_all(text.as_bytes()).unwrap();
        drop(terminal);
        let mut written = String::new();
        reader.read_to_string(&mut written).unwrap();
        assert_eq!(written, text);
    }
}
