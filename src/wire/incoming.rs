//! Reads a message from frames.

use thiserror::Error;

use serde::de::IgnoredAny;

use super::metadata::Metadata;
use super::object::{MAX_DEPTH, object_text, read_object};
use super::{DELIMITER, Frame, Frames, Header, MessageType, ReplayGuard, Signer};
use crate::wire::sanitize::clipped;

/// A message as it came from a client: verified, its header read, the other dicts still raw JSON.
#[derive(Debug)]
pub struct Incoming {
    /// The routing identities that a ROUTER socket put in front; a reply goes to the same ones.
    pub idents: Vec<Vec<u8>>,
    /// The header as it came: every message that this one causes echoes it as its parent.
    pub raw_header: Vec<u8>,
    /// The header, read.
    pub header: Header,
    /// The type that the header names.
    pub kind: MessageType,
    /// The parent header, raw JSON.
    pub parent: Frame,
    /// The metadata, raw JSON.
    pub metadata: Frame,
    /// The metadata, read.
    pub read_metadata: Metadata,
    /// The content, raw JSON.
    pub content: Frame,
    /// Binary buffers; not signed, never copied.
    pub buffers: Vec<Frame>,
}

/// Why frames are not a message. They are logged and dropped.
#[derive(Debug, Error)]
pub enum WireError {
    /// There is no `<IDS|MSG>` frame.
    #[error("no <IDS|MSG> frame among {frames} frames: this is not a Jupyter message")]
    NoDelimiter {
        /// How many frames there were.
        frames: usize,
    },
    /// There are fewer than five frames after the delimiter.
    #[error("{got} frames after <IDS|MSG>, at least 5 are needed")]
    TooFewFrames {
        /// How many frames followed.
        got: usize,
    },
    /// Wrong key, or changed frames.
    #[error("the signature is wrong: the client uses another key than the connection file's")]
    BadSignature,
    /// The same signature was seen before.
    #[error("the message was sent before (replayed signature)")]
    Replayed,
    /// The header is not what the protocol says.
    #[error("the header cannot be read: {}", clipped(&.0.to_string()))]
    BadHeader(#[source] serde_json::Error),
    /// Header, parent header or metadata is not a JSON object that every client could read.
    #[error("the {part} is not a JSON object, or is nested more than {MAX_DEPTH} deep")]
    NotAnObject {
        /// Which of the dicts.
        part: &'static str,
    },
}

/// Decodes messages of clients, with one [`ReplayGuard`] for all channels.
pub struct Verifier {
    signer: Signer,
    replays: ReplayGuard,
}

impl Verifier {
    /// For messages that are signed with the connection file's `key`.
    pub fn new(key: &[u8]) -> Self {
        Self { signer: Signer::new(key), replays: ReplayGuard::new() }
    }

    /// See [`Incoming::decode`].
    pub fn decode(&self, frames: Frames) -> Result<Incoming, WireError> {
        Incoming::decode(frames, &self.signer, &self.replays)
    }
}

impl Incoming {
    /// Reads frames. Counts before it indexes, and verifies before it parses.
    pub fn decode(frames: Frames, signer: &Signer, replays: &ReplayGuard) -> Result<Self, WireError> {
        let count = frames.len();
        let at = frames.iter().position(|frame| &**frame == DELIMITER);
        let at = at.ok_or(WireError::NoDelimiter { frames: count })?;
        let mut frames = frames.into_iter();
        let idents: Vec<_> = frames.by_ref().take(at).collect();
        frames.next();
        let got = frames.len();
        let mut next = || frames.next().ok_or(WireError::TooFewFrames { got });
        let signature = next()?;
        let (header, parent, metadata, content) = (next()?, next()?, next()?, next()?);
        match signer.verify(&signature, [&header, &parent, &metadata, &content]) {
            Err(_) => return Err(WireError::BadSignature),
            Ok(Some(digest)) if !replays.admit(digest) => return Err(WireError::Replayed),
            Ok(_) => {}
        }
        let read: Header = serde_json::from_slice(&header).map_err(WireError::BadHeader)?;
        // Serde accepts what other clients do not: a list for a struct, invalid UTF-8 in fields that it ignores.
        let refused = |part| WireError::NotAnObject { part };
        object_text(&header).ok_or(refused("header"))?;
        read_object::<IgnoredAny>(&parent).ok_or(refused("parent header"))?;
        let read_metadata = read_object(&metadata).ok_or(refused("metadata"))?;
        let kind = MessageType::parse(&read.msg_type);
        // Copied only now: without a signature they can be of any length.
        let idents = idents.into_iter().map(Frame::into_vec).collect();
        Ok(Self {
            idents,
            raw_header: header.into_vec(),
            header: read,
            kind,
            parent,
            metadata,
            read_metadata,
            content,
            buffers: frames.collect(),
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::wire::{EMPTY_OBJECT, Outgoing, Session};

    fn request(key: &[u8], header: &str) -> Vec<Vec<u8>> {
        let dicts = [header.as_bytes(), EMPTY_OBJECT, EMPTY_OBJECT, br#"{"code":"1"}"#];
        let mut frames =
            vec![b"peer".to_vec(), DELIMITER.to_vec(), Signer::new(key).sign(dicts).into_bytes()];
        frames.extend(dicts.map(<[u8]>::to_vec));
        frames.push(b"buffer".to_vec());
        frames
    }

    fn decode(frames: Vec<Vec<u8>>) -> Result<Incoming, WireError> {
        Incoming::decode(frames.into(), &Signer::new(b"key"), &ReplayGuard::new())
    }

    const HEADER: &str = r#"{"msg_id":"m1","msg_type":"execute_request","date":null2}"#;

    #[test]
    fn reads_a_message() {
        let message =
            decode(request(b"key", r#"{ "msg_id":"m1", "msg_type":"execute_request","x":1}"#)).unwrap();
        assert_eq!(message.idents, [b"peer"]);
        assert_eq!(message.kind, MessageType::ExecuteRequest);
        assert_eq!(&*message.content, br#"{"code":"1"}"#);
        assert_eq!(&*message.buffers[0], b"buffer");
        assert_eq!(message.raw_header, br#"{ "msg_id":"m1", "msg_type":"execute_request","x":1}"#);
    }

    #[test]
    fn every_shorter_message_is_refused() {
        let whole = request(b"key", r#"{"msg_id":"m1","msg_type":"x"}"#);
        for count in 0..7 {
            let error = decode(whole[..count].to_vec()).unwrap_err();
            match count {
                0 | 1 => assert!(matches!(error, WireError::NoDelimiter { .. }), "{error}"),
                _ => assert!(matches!(error, WireError::TooFewFrames { .. }), "{error}"),
            }
        }
    }

    #[test]
    fn refuses_wrong_signatures_headers_and_metadata() {
        let good = r#"{"msg_id":"m1","msg_type":"x"}"#;
        assert!(matches!(decode(request(b"wrong", good)), Err(WireError::BadSignature)));
        for header in
            [HEADER, "", "[]", "null", r#"{"msg_id":1,"msg_type":"x"}"#, r#"{"msg_id":"m1"}"#, "\u{0}"]
        {
            assert!(matches!(decode(request(b"key", header)), Err(WireError::BadHeader(_))), "{header}");
        }
        let mut frames = request(b"", good);
        frames[5] = b"[1]".to_vec();
        let unsigned = Incoming::decode(frames.into(), &Signer::new(b""), &ReplayGuard::new());
        assert!(matches!(unsigned, Err(WireError::NotAnObject { part: "metadata" })));
    }

    #[test]
    fn refuses_what_other_clients_could_not_read() {
        let with = |value: &str| format!(r#"{{"msg_id":"m1","msg_type":"x","more":{value}}}"#);
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(decode(request(b"key", &with(&nested(99)))).is_ok());
        assert!(decode(request(b"key", &with(r#""[[{\\\"[[""#))).is_ok());
        let siblings = with(&format!("[{}[]]", "[],".repeat(500)));
        assert!(decode(request(b"key", &siblings)).is_ok());
        for header in [r#"["m1","x"]"#.to_owned(), with(&nested(100)), with(&nested(100_000))] {
            let refused = decode(request(b"key", &header));
            assert!(matches!(refused, Err(WireError::NotAnObject { part: "header" })), "{header:.200}");
        }
        for place in 3..6 {
            let mut frames = request(b"", &with("1"));
            frames[place] = b"{\"msg_id\":\"m1\",\"msg_type\":\"x\",\"more\":\"\xff\"}".to_vec();
            let unsigned = Incoming::decode(frames.into(), &Signer::new(b""), &ReplayGuard::new());
            assert!(matches!(unsigned, Err(WireError::NotAnObject { .. })), "{place}");
        }
    }

    #[test]
    fn errors_are_short() {
        let header = format!("\"{}\"", "\u{1f980}\\n".repeat(100_000));
        let error = decode(request(b"key", &header)).unwrap_err().to_string();
        assert!(error.contains("expected struct Header") && error.chars().count() < 500, "{error:.2000}");
    }

    #[test]
    fn refuses_a_replay() {
        let (signer, replays) = (Signer::new(b"key"), ReplayGuard::new());
        let frames = request(b"key", r#"{"msg_id":"m1","msg_type":"x"}"#);
        assert!(Incoming::decode(frames.clone().into(), &signer, &replays).is_ok());
        assert!(matches!(Incoming::decode(frames.into(), &signer, &replays), Err(WireError::Replayed)));
    }

    #[test]
    fn reads_what_a_session_writes() {
        let session = Session::new(b"key");
        let frames = session.encode(Outgoing {
            idents: &[b"peer".to_vec()],
            kind: &MessageType::Status,
            parent: br#"{"msg_id":"parent"}"#,
            metadata: Frame::EMPTY_OBJECT,
            content: br#"{"execution_state":"busy"}"#.to_vec(),
            buffers: vec![b"b".to_vec().into()],
        });
        let message = Incoming::decode(frames, &Signer::new(b"key"), &ReplayGuard::new()).unwrap();
        assert_eq!(message.kind, MessageType::Status);
        assert_eq!(&*message.parent, br#"{"msg_id":"parent"}"#);
        assert_eq!(message.header.session, session.id());
        assert_eq!(message.header.version, "5.5");
        assert_eq!(message.buffers.len(), 1);
    }
}
