//! The terminal that the kernel was started on, for its own words.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;

use tracing_subscriber::fmt::MakeWriter;

/// Writes to the real standard error, and never waits for whoever reads it: a terminal that is stopped, or a pipe that
/// its reader has forgotten, would else stop the thread that serves the sockets at its next line of log. What there is
/// no room for is left out.
#[derive(Clone)]
pub struct Terminal(Arc<File>);

impl Terminal {
    /// The terminal that is open as this file.
    pub fn new(file: File) -> Self {
        Self(Arc::new(file))
    }

    fn has_room(&self) -> bool {
        let mut asked = libc::pollfd { fd: self.0.as_raw_fd(), events: libc::POLLOUT, revents: 0 };
        // SAFETY: one structure is given, which lives as long as the call takes, and the file is open.
        let answered = unsafe { libc::poll(&raw mut asked, 1, 0) };
        answered == 1 && asked.revents & libc::POLLOUT != 0
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
        // A pipe that has room at all takes this much at once.
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
    fn what_nobody_reads_is_left_out_and_what_there_is_room_for_is_written_again() {
        let (mut reader, writer) = pipe().unwrap();
        let mut terminal = Terminal::new(File::from(OwnedFd::from(writer)));
        // More than any pipe holds: this would wait for ever.
        for _ in 0..100_000 {
            terminal.write_all(b"a line that nobody reads, of sixty bytes or so of text ......\n").unwrap();
        }
        let mut some = vec![0; 1 << 16];
        let kept = reader.read(&mut some).unwrap();
        assert!(some[..kept].starts_with(b"a line that nobody reads"));
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
