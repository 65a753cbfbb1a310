//! Reads the dicts of a message strictly: they are echoed to all clients, whose parsers are stricter than serde.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::EMPTY_OBJECT;

/// How deep header, parent header and metadata may be nested. Python's parser gives up at 1,000, serde's at 128.
pub(super) const MAX_DEPTH: usize = 100;

/// Reads a JSON object that every client can read: valid UTF-8, and not nested deeper than [`MAX_DEPTH`]. Returns the
/// default if it is such an object but no `T`.
pub(super) fn read_object<'a, T: Deserialize<'a> + Default>(raw: &'a [u8]) -> Option<T> {
    if raw == EMPTY_OBJECT {
        return Some(T::default());
    }
    let text = object_text(raw)?;
    serde_json::from_str(text)
        .ok()
        .or_else(|| serde_json::from_str::<IgnoredAny>(text).ok().map(|_| T::default()))
}

/// The text of a JSON object that every client can read, if it is valid JSON.
pub(super) fn object_text(raw: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(raw).ok()?;
    (text.trim_start().starts_with('{') && depth(raw) <= MAX_DEPTH).then_some(text)
}

/// How deep lists and objects are nested in valid JSON.
fn depth(json: &[u8]) -> usize {
    let (mut depth, mut deepest, mut text, mut escaped) = (0_usize, 0, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => text = !text,
            b'{' | b'[' if !text => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}
