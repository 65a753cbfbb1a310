//! The log of messages that a socket drops.

use std::time::{Duration, Instant};

use tracing::warn;

use crate::wire::WireError;

/// How many lines a socket may log in a [`SPAN`]; whoever can connect can send what is dropped, without end.
const LINES: u32 = 20;

/// The time for which lines are counted.
pub(super) const SPAN: Duration = Duration::from_secs(1);

/// Logs the messages that one socket drops: the first ones of each second, and how many more there were.
#[derive(Default)]
pub(super) struct DropLog {
    /// When the current span began.
    since: Option<Instant>,
    /// Lines in this span.
    said: u32,
    /// Messages for which there was none.
    unsaid: u64,
}

impl DropLog {
    /// Takes note of a message that came in on `channel` and is dropped. True if it is the first one without a line:
    /// then [`DropLog::log_rest`] is to be called after a [`SPAN`].
    pub(super) fn log(&mut self, channel: &str, problem: &WireError) -> bool {
        let say = self.count(Instant::now());
        if say {
            warn!(channel, %problem, "a message was dropped");
        }
        !say && self.unsaid == 1
    }

    /// Says how many messages were dropped without a line.
    pub(super) fn log_rest(&mut self, channel: &str) {
        let more = std::mem::take(&mut self.unsaid);
        warn!(channel, more, "more messages were dropped than are logged");
    }

    /// Whether to log a message that is dropped now.
    fn count(&mut self, now: Instant) -> bool {
        if self.since.is_none_or(|since| now.duration_since(since) >= SPAN) {
            (self.since, self.said) = (Some(now), 0);
        }
        let say = self.said < LINES;
        if say {
            self.said += 1;
        } else {
            self.unsaid += 1;
        }
        say
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_logged_in_few_lines_and_counted() {
        let (mut dropped, start) = (DropLog::default(), Instant::now());
        for n in 0..1000 {
            assert_eq!(dropped.count(start + SPAN / 2), n < LINES);
        }
        assert_eq!(dropped.unsaid, 1000 - u64::from(LINES));
        assert!(dropped.count(start + SPAN * 2), "the next second has lines of its own");
    }
}
