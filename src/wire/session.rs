//! Writes a message to frames.

use std::sync::atomic::{AtomicU64, Ordering};

use chrono::{DateTime, Datelike, SecondsFormat, Timelike, Utc};

use super::{DELIMITER, Frame, Frames, Header, MessageType, PROTOCOL_VERSION, Signer};

/// Gives messages their ids, dates and signatures.
///
/// Shared by all threads; encoding takes no lock.
pub struct Session {
    id: String,
    username: String,
    signer: Signer,
    pid: u32,
    count: AtomicU64,
    /// What all headers have in common, JSON: session, user and version.
    common: Vec<u8>,
}

/// The parts of a message to be written.
pub struct Outgoing<'a> {
    /// Where a ROUTER socket sends it, or the topic on iopub.
    pub idents: &'a [Vec<u8>],
    /// Its type.
    pub kind: &'a MessageType,
    /// The header of the request that caused it, raw JSON, echoed as it came; `{}` for none.
    pub parent: &'a [u8],
    /// Raw JSON.
    pub metadata: Frame,
    /// Raw JSON.
    pub content: Vec<u8>,
    /// Binary buffers, sent as they are.
    pub buffers: Vec<Frame>,
}

impl Session {
    /// A new session that signs with the connection file's key.
    pub fn new(key: &[u8]) -> Self {
        let username = std::env::var("USER").or_else(|_| std::env::var("LOGNAME"));
        let username = username.unwrap_or_else(|_| "username".to_owned());
        let id = uuid::Uuid::new_v4().to_string();
        let user = serde_json::Value::from(username.as_str());
        let common = format!(r#","session":"{id}","username":{user},"version":"{PROTOCOL_VERSION}"}}"#);
        Self {
            common: common.into_bytes(),
            id,
            username,
            signer: Signer::new(key),
            pid: std::process::id(),
            count: AtomicU64::new(0),
        }
    }

    /// The session's id: it is in every header, and in the topics on iopub.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Verifies messages that clients sign with the same key.
    pub fn signer(&self) -> &Signer {
        &self.signer
    }

    /// A header for a new message of this type.
    pub fn header(&self, kind: &MessageType) -> Header {
        let n = self.count.fetch_add(1, Ordering::Relaxed);
        Header {
            msg_id: format!("{}_{}_{n}", self.id, self.pid),
            msg_type: kind.as_str().to_owned(),
            session: self.id.clone(),
            username: self.username.clone(),
            date: Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true),
            version: PROTOCOL_VERSION.to_owned(),
            subshell_id: None,
            run_mode: None,
        }
    }

    /// The frames of a new message. Buffers are moved, not copied.
    pub fn encode(&self, message: Outgoing<'_>) -> Frames {
        self.encode_dated(Utc::now(), message)
    }

    /// Like [`Session::encode`], for a message that was made at another time than now.
    pub fn encode_dated(&self, date: DateTime<Utc>, message: Outgoing<'_>) -> Frames {
        self.assemble(self.raw_header(message.kind, date), message)
    }

    /// Like [`Session::encode`], for a header made beforehand (a prompt needs to know its id).
    pub fn encode_with_header(&self, header: &Header, message: Outgoing<'_>) -> Frames {
        // A struct of strings always serializes.
        self.assemble(serde_json::to_vec(header).unwrap_or_default(), message)
    }

    /// Like [`Session::encode`], for a header that is JSON already.
    pub fn encode_with_raw_header(&self, header: Vec<u8>, message: Outgoing<'_>) -> Frames {
        self.assemble(header, message)
    }

    /// What [`Session::header`] gives, as JSON: written directly, since there are several for each cell.
    fn raw_header(&self, kind: &MessageType, now: DateTime<Utc>) -> Vec<u8> {
        let mut raw = Vec::with_capacity(384);
        raw.extend_from_slice(br#"{"msg_id":""#);
        raw.extend_from_slice(self.id.as_bytes());
        raw.push(b'_');
        digits(&mut raw, u64::from(self.pid), 1);
        raw.push(b'_');
        digits(&mut raw, self.count.fetch_add(1, Ordering::Relaxed), 1);
        raw.extend_from_slice(br#"","msg_type":"#);
        // Writing to memory does not fail, and a string always serializes.
        serde_json::to_writer(&mut raw, kind.as_str()).unwrap_or_default();
        raw.extend_from_slice(br#","date":""#);
        write_date(&mut raw, now);
        raw.push(b'"');
        raw.extend_from_slice(&self.common);
        raw
    }

    fn assemble(&self, header: Vec<u8>, message: Outgoing<'_>) -> Frames {
        let Outgoing { idents, parent, metadata, content, buffers, .. } = message;
        let signature = self.signer.sign([&header, parent, &metadata, &content]).into_bytes();
        let mut frames = Vec::with_capacity(idents.len() + 6 + buffers.len());
        frames.extend(idents.iter().map(|ident| Frame::from(ident.as_slice())));
        frames.push(Frame::fixed(DELIMITER));
        frames.extend([signature.into(), header.into(), parent.into(), metadata, content.into()]);
        frames.extend(buffers);
        frames.into()
    }
}

/// Appends a date as the protocol writes it: ISO 8601, to the microsecond.
pub(crate) fn write_date(text: &mut Vec<u8>, date: DateTime<Utc>) {
    let parts = [
        (u64::from(date.year().unsigned_abs()), 4, b'-'),
        (u64::from(date.month()), 2, b'-'),
        (u64::from(date.day()), 2, b'T'),
        (u64::from(date.hour()), 2, b':'),
        (u64::from(date.minute()), 2, b':'),
        (u64::from(date.second()), 2, b'.'),
        // A leap second has more of them.
        (u64::from(date.nanosecond() / 1000 % 1_000_000), 6, b'Z'),
    ];
    for (value, width, end) in parts {
        digits(text, value, width);
        text.push(end);
    }
}

/// Appends a number in decimal, with zeros before it up to this width.
fn digits(text: &mut Vec<u8>, number: u64, width: usize) {
    let mut reversed = [b'0'; 20];
    let mut left = number;
    let mut count = 0;
    while left > 0 && count < reversed.len() {
        // The remainder is below ten.
        reversed[count] += u8::try_from(left % 10).unwrap_or_default();
        left /= 10;
        count += 1;
    }
    text.extend(reversed[..count.max(width)].iter().rev());
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use chrono::TimeZone;

    use super::*;

    #[test]
    fn a_header_is_written_as_serde_writes_it() {
        let session = Session::new(b"key");
        let dates =
            [(2026, 1, 2, 3, 4, 5, 6), (1999, 12, 31, 23, 59, 59, 999_999), (2030, 10, 10, 10, 10, 10, 0)];
        for (year, month, day, hour, minute, second, micros) in dates {
            let now = Utc.with_ymd_and_hms(year, month, day, hour, minute, second).unwrap();
            let now = now.with_nanosecond(micros * 1000).unwrap();
            for kind in [MessageType::Status, MessageType::parse("a \"new\"\n\u{1}type é")] {
                let written: Header = serde_json::from_slice(&session.raw_header(&kind, now)).unwrap();
                let made = session.header(&kind);
                let date = now.to_rfc3339_opts(SecondsFormat::Micros, true);
                let number = |id: &str| id.rsplit('_').next().unwrap().parse::<u64>().unwrap();
                assert_eq!(number(&written.msg_id) + 1, number(&made.msg_id));
                let same = Header { msg_id: made.msg_id.clone(), ..written };
                assert_eq!(
                    serde_json::to_value(same).unwrap(),
                    serde_json::to_value(Header { date, ..made }).unwrap()
                );
            }
        }
    }

    #[test]
    fn numbers_are_written_in_full() {
        for (number, width, text) in [
            (0, 1, "0"),
            (7, 2, "07"),
            (10, 1, "10"),
            (123_456, 4, "123456"),
            (u64::MAX, 1, "18446744073709551615"),
        ] {
            let mut written = Vec::new();
            digits(&mut written, number, width);
            assert_eq!(written, text.as_bytes());
        }
    }

    #[test]
    fn a_header_ends_in_what_all_have_in_common() {
        let session = Session { common: b",\"x\":1}".to_vec(), ..Session::new(b"") };
        assert!(session.raw_header(&MessageType::Status, Utc::now()).ends_with(b"Z\",\"x\":1}"));
    }
}
