//! Printed text (Jupyter protocol, "Streams").

use serde::{Deserialize, Serialize};

/// Text for stdout or stderr.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stream {
    /// Which of the two.
    pub name: StreamName,
    /// The text, not cut at lines.
    pub text: String,
}

/// A stream of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StreamName {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl StreamName {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{refused, round_trip};
    use super::*;

    #[test]
    fn a_stream_is_read_and_written() {
        let stream: Stream = round_trip(r#"{"name": "stdout", "text": "1\n"}"#);
        assert_eq!(stream, Stream { name: StreamName::Stdout, text: "1\n".to_owned() });
        let stream: Stream = round_trip(r#"{"name": "stderr", "text": ""}"#);
        assert_eq!(stream, Stream { name: StreamName::Stderr, text: String::new() });
    }

    #[test]
    fn there_are_two_streams() {
        refused::<Stream>(r#"{"name": "stdin", "text": ""}"#);
    }
}
