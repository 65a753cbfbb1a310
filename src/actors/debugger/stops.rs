//! Which threads stand, and which breakpoints there are: what a client that comes later has to know.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use crate::wire::dap::{SourceBreakpoint, Verified};

/// The threads that stand.
#[derive(Debug, Default)]
pub struct Stops {
    /// The thread that stopped last is first: clients show its stack.
    threads: Vec<i64>,
}

/// The body of the events `stopped` and `continued`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StopBody {
    /// Which thread.
    pub thread_id: Option<i64>,
    /// Whether all threads have stopped with it.
    pub all_threads_stopped: bool,
    /// Whether all threads go on with it; that is meant if it is missing.
    pub all_threads_continued: Option<bool>,
}

impl Stops {
    /// The threads that stand, that of the last stop first.
    pub fn threads(&self) -> &[i64] {
        &self.threads
    }

    /// Whether any thread stands.
    pub fn any(&self) -> bool {
        !self.threads.is_empty()
    }

    /// A thread has stopped, and these others with it.
    pub fn stopped(&mut self, thread: i64, others: &[i64]) {
        self.threads.retain(|known| *known != thread);
        self.threads.insert(0, thread);
        for other in others {
            if !self.threads.contains(other) {
                self.threads.push(*other);
            }
        }
    }

    /// Threads go on: this one, or all.
    pub fn continued(&mut self, thread: Option<i64>) {
        match thread {
            Some(thread) => self.threads.retain(|known| *known != thread),
            None => self.threads.clear(),
        }
    }
}

/// The body of a response to `stackTrace` without the frames that have called a cell, which are the kernel's; None if
/// there is no cell on the stack. `cells` is what the names of cells' files begin with.
pub fn cut_stack(body: &str, cells: &str) -> Option<Box<RawValue>> {
    let mut body: Value = serde_json::from_str(body).ok()?;
    let frames = body["stackFrames"].as_array_mut()?;
    let is_cell =
        |frame: &Value| frame["source"]["path"].as_str().is_some_and(|path| path.starts_with(cells));
    let outermost = frames.iter().rposition(is_cell)?;
    frames.truncate(outermost + 1);
    // A part of the stack that a client has asked for may end in a cell, and go on.
    if body["totalFrames"].as_u64().is_some() {
        body["totalFrames"] = frames_len(&body).into();
    }
    to_raw_value(&body).ok()
}

fn frames_len(body: &Value) -> usize {
    body["stackFrames"].as_array().map_or(0, Vec::len)
}

/// The breakpoints, by the file of the source.
#[derive(Debug, Default)]
pub struct Breakpoints {
    by_path: BTreeMap<String, Vec<SourceBreakpoint>>,
}

impl Breakpoints {
    /// Sets all breakpoints of a source.
    pub fn set(&mut self, path: String, breakpoints: Vec<SourceBreakpoint>) {
        if breakpoints.is_empty() {
            self.by_path.remove(&path);
        } else {
            self.by_path.insert(path, breakpoints);
        }
    }

    /// The debugger has moved breakpoints to lines that have code.
    pub fn moved(&mut self, path: &str, verified: &Verified) {
        let Some(known) = self.by_path.get_mut(path) else { return };
        for (breakpoint, set) in known.iter_mut().zip(&verified.breakpoints) {
            if let Some(line) = set.line.filter(|_| set.verified) {
                breakpoint.line = line;
            }
        }
    }

    /// The breakpoints, by the file of the source.
    pub fn all(&self) -> impl Iterator<Item = (&str, &[SourceBreakpoint])> {
        self.by_path.iter().map(|(path, breakpoints)| (path.as_str(), breakpoints.as_slice()))
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.by_path.clear();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::wire::dap::SetBreakpoints;

    #[test]
    fn the_thread_of_the_last_stop_is_first() {
        let mut stops = Stops::default();
        stops.stopped(1, &[1, 2, 3]);
        assert_eq!(stops.threads(), [1, 2, 3]);
        stops.stopped(3, &[]);
        assert_eq!(stops.threads(), [3, 1, 2]);
        stops.continued(Some(1));
        stops.continued(Some(7));
        assert_eq!(stops.threads(), [3, 2]);
        stops.continued(None);
        assert!(!stops.any());
    }

    #[test]
    fn breakpoints_are_kept_with_their_conditions_where_the_debugger_has_put_them() {
        let asked: SetBreakpoints = serde_json::from_str(
            r#"{"source": {"path": "a"}, "breakpoints": [{"line": 1, "condition": "x"}, {"line": 5}, {"line": 9}]}"#,
        )
        .unwrap();
        let mut breakpoints = Breakpoints::default();
        breakpoints.set("a".to_owned(), asked.breakpoints);
        let verified: Verified = serde_json::from_str(
            r#"{"breakpoints": [{"verified": true, "line": 2}, {"verified": false, "line": 6}]}"#,
        )
        .unwrap();
        breakpoints.moved("a", &verified);
        breakpoints.moved("b", &verified);
        let lines: Vec<_> = breakpoints.all().flat_map(|(_, all)| all.iter().map(|one| one.line)).collect();
        assert_eq!(lines, [2, 5, 9]);
        assert_eq!(breakpoints.all().next().unwrap().1[0].condition.as_deref(), Some("x"));
        breakpoints.set("a".to_owned(), Vec::new());
        assert_eq!(breakpoints.all().count(), 0);
    }
}
