//! Makes text that a client sent fit for error replies, the log and the terminal: short, and in one line.
//!
//! A name of a megabyte is of no use there, and a line break could fake a line of the log.

/// How much of a text is quoted, in characters.
const QUOTED: usize = 80;

/// How much is kept of the beginning and the end of a message, in characters: there parsers say what they have found and
/// what they expected.
const BEGINNING: usize = 160;
const END: usize = 100;

/// A text in quotation marks, cut after [`QUOTED`] characters.
pub fn quoted(text: &str) -> String {
    match text.char_indices().nth(QUOTED) {
        Some((end, _)) => format!("{:?}...", &text[..end]),
        None => format!("{text:?}"),
    }
}

/// A message in one line, its middle left out if it is long.
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
    fn short_text_is_kept() {
        assert_eq!(quoted("a \"b\"\n"), r#""a \"b\"\n""#);
        assert_eq!(quoted(&"x".repeat(80)), format!("\"{}\"", "x".repeat(80)));
        let message = "\u{1f980}".repeat(BEGINNING + END);
        assert_eq!(clipped(&message), message);
    }

    #[test]
    fn long_text_is_cut_between_characters() {
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
