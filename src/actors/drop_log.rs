//! The log of messages that a socket drops.

use std::time::{Duration, Instant};

use tracing::warn;

use crate::wire::WireError;

/// How many lines a socket may log in a [`SPAN`]: any process that can connect can flood it with messages to drop.
const LINES: u32 = 20;

/// How long lines are counted together.
pub(super) const SPAN: Duration = Duration::from_secs(1);

/// Logs the messages that one socket drops: the first ones of each second, and how many more were dropped.
#[derive(Default)]
pub(super) struct DropLog {
    /// When the current span began.
    since: Option<Instant>,
    /// Lines in this span.
    logged: u32,
    /// Messages without a line.
    unlogged: u64,
}

impl DropLog {
    /// Notes that a message of `channel` is dropped. True if it is the first one without a line: then call
    /// [`DropLog::log_rest`] after a [`SPAN`].
    pub(super) fn log(&mut self, channel: &str, problem: &WireError) -> bool {
        let logs = self.count(Instant::now());
        if logs {
            warn!(channel, %problem, "a message was dropped");
        }
        !logs && self.unlogged == 1
    }

    /// Logs how many messages were dropped without a line.
    pub(super) fn log_rest(&mut self, channel: &str) {
        let more = std::mem::take(&mut self.unlogged);
        warn!(channel, more, "more messages were dropped than are logged");
    }

    /// Whether to log a message that is dropped now.
    fn count(&mut self, now: Instant) -> bool {
        if self.since.is_none_or(|since| now.duration_since(since) >= SPAN) {
            (self.since, self.logged) = (Some(now), 0);
        }
        let logs = self.logged < LINES;
        if logs {
            self.logged += 1;
        } else {
            self.unlogged += 1;
        }
        logs
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
        assert_eq!(dropped.unlogged, 1000 - u64::from(LINES));
        assert!(dropped.count(start + SPAN * 2), "the next second has lines of its own");
    }
}
