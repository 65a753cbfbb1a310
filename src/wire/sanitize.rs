//! What others have sent, as part of a message of ours: short, and in one line.
//!
//! Error replies, the log and the terminal show what a client sent. A name of a megabyte helps nobody, and one with a
//! line break in it could pretend to be another line of the log.

/// How much of a text is quoted, in characters.
const QUOTED: usize = 80;

/// How much is kept of a message that may hold what others have sent, in characters: its beginning and its end,
/// where parsers say what they have found and what they wanted.
const BEGINNING: usize = 160;
const END: usize = 100;

/// A text in quotation marks, or as much of it as a message can show.
pub fn quoted(text: &str) -> String {
    match text.char_indices().nth(QUOTED) {
        Some((end, _)) => format!("{:?}...", &text[..end]),
        None => format!("{text:?}"),
    }
}

/// A message that may hold what others have sent: the middle left out if it is long, and in one line.
pub fn clipped(message: &str) -> String {
    let mut short = String::new();
    let mut add = |text: &str| {
        for c in text.chars() {
            if c.is_control() { short.extend(c.escape_default()) } else { short.push(c) }
        }
    };
    let start = message.char_indices().nth(BEGINNING).map_or(message.len(), |(at, _)| at);
    let end = message.char_indices().nth_back(END - 1).map_or(0, |(at, _)| at);
    if start < end {
        add(&message[..start]);
        add(" ... ");
        add(&message[end..]);
    } else {
        add(message);
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_short_is_shown_whole() {
        assert_eq!(quoted("a \"b\"\n"), r#""a \"b\"\n""#);
        assert_eq!(quoted(&"x".repeat(80)), format!("\"{}\"", "x".repeat(80)));
        let message = "\u{1f980}".repeat(BEGINNING + END);
        assert_eq!(clipped(&message), message);
    }

    #[test]
    fn what_is_long_is_cut_at_characters() {
        let long = "\u{1f980}".repeat(100_000);
        assert_eq!(quoted(&long), format!("\"{}\"...", "\u{1f980}".repeat(80)));
        let message = clipped(&format!("invalid type: {long}, expected a string at line 1"));
        assert!(message.starts_with("invalid type: \u{1f980}"), "{message}");
        assert!(message.ends_with("\u{1f980}, expected a string at line 1"), "{message}");
        assert_eq!(message.chars().count(), BEGINNING + " ... ".len() + END);
    }

    #[test]
    fn a_message_stays_in_one_line() {
        assert_eq!(clipped("one\r\ntwo\u{1b}[31m\u{85}"), r"one\r\ntwo\u{1b}[31m\u{85}");
    }
}
