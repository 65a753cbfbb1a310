//! The terminal that the kernel was started on: logs and fatal errors go there.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
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
        let found = poll(&mut watched, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
        found == Ok(1) && watched[0].revents().contains(PollFlags::OUT)
    }
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
