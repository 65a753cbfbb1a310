//! What replies share (Jupyter protocol, "Request-Reply"): the `status`, and the replies without fields of their own.
//!
//! The markers are named by module (`reply::Ok`), so that they do not hide `Result::Ok`.

use serde::de::{Error as _, Unexpected};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Makes types without a value that stand for one string on the wire and are read from that string only.
macro_rules! markers {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $name;

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str($text)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                if text == $text {
                    Result::Ok(Self)
                } else {
                    let expected = concat!("\"", $text, "\"");
                    Err(D::Error::invalid_value(Unexpected::Str(&text), &expected))
                }
            }
        }
    )+};
}

markers! {
    /// The status `"ok"`.
    Ok = "ok",
    /// The status `"error"`.
    Error = "error",
    /// The status `"aborted"`.
    Aborted = "aborted",
}

/// The reply to a request that succeeded, without a result.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OkReply {
    /// Always `"ok"`.
    pub status: Ok,
}

/// The reply to any request that failed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorReply {
    /// Always `"error"`.
    pub status: Error,
    /// The name of the exception, such as `ValueError`.
    pub ename: String,
    /// The text of the exception.
    pub evalue: String,
    /// The traceback, one frame each, possibly with ANSI colours; may be empty.
    pub traceback: Vec<String>,
}

/// The reply to any request that was not run because an earlier one failed.
///
/// The protocol calls it deprecated since 5.1; ipykernel still sends it and clients expect it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AbortedReply {
    /// Always `"aborted"`.
    pub status: Aborted,
}

#[cfg(test)]
mod tests {
    use super::super::sample::{refused, round_trip};
    use super::*;

    #[test]
    fn replies_are_read_and_written() {
        assert_eq!(round_trip::<OkReply>(r#"{"status": "ok"}"#), OkReply::default());
        assert_eq!(round_trip::<AbortedReply>(r#"{"status": "aborted"}"#), AbortedReply::default());
        let reply: ErrorReply = round_trip(
            r#"{
                "status": "error",
                "ename": "NameError",
                "evalue": "name 'foo' is not defined",
                "traceback": ["Traceback (most recent call last)", "NameError"]
            }"#,
        );
        assert_eq!(reply.ename, "NameError");
        assert_eq!(reply.evalue, "name 'foo' is not defined");
        assert_eq!(reply.traceback, ["Traceback (most recent call last)", "NameError"]);
    }

    #[test]
    fn a_status_is_read_from_its_own_name_only() {
        let message = refused::<OkReply>(r#"{"status": "error"}"#);
        let expected = r#"invalid value: string "error", expected "ok""#;
        assert!(message.starts_with(expected), "{message}");
        refused::<ErrorReply>(r#"{"status": "ok", "ename": "", "evalue": "", "traceback": []}"#);
        refused::<AbortedReply>(r#"{"status": "abort"}"#);
        refused::<OkReply>("{}");
    }

    #[test]
    fn a_status_takes_no_space() {
        assert_eq!(size_of::<Ok>(), 0);
    }
}
