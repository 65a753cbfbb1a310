//! The base protocol: each message is a header, `Content-Length: BYTES`, an empty line, and so many bytes of JSON.

use thiserror::Error;

/// The longest message that is taken, in bytes. The debugger's answers hold what the user's variables hold; they come
/// from a process that runs the user's code, so this bounds mistakes, not attacks.
pub const MAX_BODY: usize = 512 << 20;

/// The longest header: it has one line, or a few.
const MAX_HEADER: usize = 8 << 10;

const END_OF_HEADER: &[u8] = b"\r\n\r\n";

/// A stream that is not one of this protocol, or no longer. Nothing after it can be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FramingError {
    /// No header ends where one should.
    #[error("a header of more than {MAX_HEADER} bytes")]
    LongHeader,
    /// A header without a length.
    #[error("a header without a valid Content-Length")]
    NoLength,
    /// A body that is too long.
    #[error("a message of {0} bytes, more than {MAX_BODY}")]
    LongBody(usize),
}

/// Cuts a stream into the bodies of its messages, however it was cut on its way.
#[derive(Debug, Default)]
pub struct Reader {
    /// What has come in and is not taken.
    pending: Vec<u8>,
    /// Where the next message begins.
    start: usize,
    /// How far the end of the header has been looked for.
    searched: usize,
    /// The length of the body whose header has been read.
    length: Option<usize>,
}

impl Reader {
    /// Adds bytes that have come in.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.start > 0 && self.start == self.pending.len() {
            self.pending.clear();
            (self.start, self.searched) = (0, 0);
        }
        self.pending.extend_from_slice(bytes);
    }

    /// Takes the body of the next message; None if it has not come in as a whole.
    pub fn next_body(&mut self) -> Result<Option<Vec<u8>>, FramingError> {
        if self.length.is_none() {
            let Some(length) = self.take_header()? else { return Ok(None) };
            self.length = Some(length);
        }
        let length = self.length.unwrap_or_default();
        let Some(body) = self.pending[self.start..].get(..length) else {
            return Ok(None);
        };
        let body = body.to_vec();
        self.start += length;
        self.searched = self.start;
        self.length = None;
        self.release();
        Ok(Some(body))
    }

    /// Reads a header, if it is there as a whole: the length of the body.
    fn take_header(&mut self) -> Result<Option<usize>, FramingError> {
        let from = self.searched.max(self.start);
        let Some(at) = find(&self.pending[from..], END_OF_HEADER) else {
            if self.pending.len() - self.start > MAX_HEADER {
                return Err(FramingError::LongHeader);
            }
            // The end may be cut.
            self.searched = from.max(self.pending.len().saturating_sub(END_OF_HEADER.len() - 1));
            return Ok(None);
        };
        let header = &self.pending[self.start..from + at];
        if header.len() > MAX_HEADER {
            return Err(FramingError::LongHeader);
        }
        let length = content_length(header).ok_or(FramingError::NoLength)?;
        if length > MAX_BODY {
            return Err(FramingError::LongBody(length));
        }
        self.start = from + at + END_OF_HEADER.len();
        self.searched = self.start;
        Ok(Some(length))
    }

    /// Gives memory back that a large message has taken, and moves what is left to the front.
    fn release(&mut self) {
        if self.start == self.pending.len() || self.start > 64 << 10 {
            self.pending.drain(..self.start);
            (self.start, self.searched) = (0, 0);
            self.pending.shrink_to(64 << 10);
        }
    }
}

/// Where `needle` begins.
fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).position(|window| window == needle)
}

/// The value of the field `Content-Length`; the names of fields have no case.
fn content_length(header: &[u8]) -> Option<usize> {
    let header = std::str::from_utf8(header).ok()?;
    let fields = header.split("\r\n").filter_map(|line| line.split_once(':'));
    let (_, length) =
        fields.into_iter().find(|(name, _)| name.trim().eq_ignore_ascii_case("content-length"))?;
    let length = length.trim();
    // `parse` takes a sign.
    length.bytes().all(|byte| byte.is_ascii_digit()).then(|| length.parse().ok())?
}

/// A message with its header.
pub fn frame(body: &[u8]) -> Vec<u8> {
    let mut framed = format!("Content-Length: {}\r\n\r\n", body.len()).into_bytes();
    framed.extend_from_slice(body);
    framed
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Everything that is whole.
    fn bodies(reader: &mut Reader) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| reader.next_body().unwrap()).collect()
    }

    #[test]
    fn messages_are_read_however_they_are_cut() {
        // The body looks like a header, and has characters of more than one byte.
        let sent = ["{}", "{\"a\": \"Content-Length: 2\\r\\n\\r\\n\"}", "", "\"\u{e9}\u{1f600}\""];
        let stream: Vec<u8> = sent.iter().flat_map(|body| frame(body.as_bytes())).collect();
        for size in 1..=stream.len() {
            let mut reader = Reader::default();
            let mut got = Vec::new();
            for piece in stream.chunks(size) {
                reader.feed(piece);
                got.extend(bodies(&mut reader));
            }
            assert_eq!(got, sent.map(|body| body.as_bytes().to_vec()), "in pieces of {size}");
            assert_eq!(reader.next_body(), Ok(None));
        }
    }

    #[test]
    fn a_large_message_is_read_whole_and_its_memory_is_given_back() {
        let body = vec![b' '; 20 << 20];
        let mut reader = Reader::default();
        for piece in frame(&body).chunks(60_000) {
            assert!(bodies(&mut reader).is_empty());
            reader.feed(piece);
        }
        assert_eq!(reader.next_body().unwrap().unwrap().len(), body.len());
        assert!(reader.pending.capacity() <= 128 << 10, "{}", reader.pending.capacity());
    }

    #[test]
    fn other_fields_and_letters_are_allowed() {
        for header in [
            "content-length: 2",
            "CONTENT-LENGTH:2",
            "Content-Type: application/json\r\nContent-Length:   2  ",
            "Content-Length: 2\r\nX: 3",
            "Content-Length: 002",
        ] {
            let mut reader = Reader::default();
            reader.feed(format!("{header}\r\n\r\n{{}}").as_bytes());
            assert_eq!(bodies(&mut reader), [b"{}"], "{header}");
        }
    }

    #[test]
    fn what_is_no_header_is_refused() {
        for header in [
            "",
            "Content-Length",
            "Content-Length: ",
            "Content-Length: -1",
            "Content-Length: +1",
            "Content-Length: two",
            "Content-Length: 1 2",
            "Content-Length: 99999999999999999999999999",
            "Length: 2",
            "\u{7f}",
        ] {
            let mut reader = Reader::default();
            reader.feed(format!("{header}\r\n\r\n{{}}").as_bytes());
            assert_eq!(reader.next_body(), Err(FramingError::NoLength), "{header}");
        }
        let mut reader = Reader::default();
        reader.feed(b"Content-Length: 2\xff\r\n\r\n{}");
        assert_eq!(reader.next_body(), Err(FramingError::NoLength));
    }

    #[test]
    fn limits_are_kept_before_anything_is_stored() {
        let mut reader = Reader::default();
        reader.feed(format!("Content-Length: {}\r\n\r\n", MAX_BODY + 1).as_bytes());
        assert_eq!(reader.next_body(), Err(FramingError::LongBody(MAX_BODY + 1)));
        let mut reader = Reader::default();
        for _ in 0..MAX_HEADER {
            reader.feed(b"x\r");
            if let Err(error) = reader.next_body() {
                assert_eq!(error, FramingError::LongHeader);
                assert!(error.to_string().contains("8192"));
                return;
            }
        }
        panic!("a header without end was taken");
    }
}
