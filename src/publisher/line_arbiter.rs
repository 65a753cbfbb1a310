//! Keeps lines whole that several threads print into one cell.
//!
//! `print` writes a line and its end one by one, and the interpreter may switch threads in between. So a line belongs to
//! the thread that has begun it. Output of other threads for the same cell waits, in order, until the line ends, its
//! thread flushes it, or half a second has passed: a line that stays open (a prompt, a progress bar) must not hold up
//! other threads.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::entry::{Piece, What, Writer};
use crate::wire::Parent;
use crate::wire::content::StreamName;

/// How long other threads wait for the end of a line. A thread among many gets its turn after one switch interval (5 ms)
/// of each of the others.
const PATIENCE: Duration = Duration::from_millis(500);

/// With more requests than this, those whose lines were left open are forgotten.
const REMEMBERED: usize = 100;

/// The open lines, and the output that waits for their ends.
#[derive(Default)]
pub struct LineArbiter {
    outputs: Vec<Output>,
}

/// The output of one request.
struct Output {
    parent: Arc<Parent>,
    open: [Option<Line>; 2],
    waiting: VecDeque<Piece>,
}

#[derive(Clone, Copy)]
struct Line {
    owner: Writer,
    since: Instant,
}

impl LineArbiter {
    /// Whether output may be published now; if so, notes the line that it begins or ends. `line`: its stream, and whether
    /// it ends with the end of a line. None if it is no text.
    pub fn admits(
        &mut self,
        parent: &Arc<Parent>,
        writer: Writer,
        line: Option<(StreamName, bool)>,
        now: Instant,
    ) -> bool {
        let Some(at) = self.position(parent) else {
            if let Some((name, false)) = line {
                self.forget_old(now);
                let mut output = Output { parent: parent.clone(), open: [None; 2], waiting: VecDeque::new() };
                output.note(writer, name, false, now);
                self.outputs.push(output);
            }
            return true;
        };
        let output = &mut self.outputs[at];
        let continues = line.is_some_and(|(name, _)| output.owner(name) == Some(writer));
        let admitted = continues
            || !output.is_blocked(writer, line.map(|(name, _)| name), now)
                && (output.waiting.is_empty()
                    || output.open.iter().flatten().any(|line| line.owner == writer));
        if admitted && let Some((name, ends)) = line {
            output.note(writer, name, ends, now);
            if output.is_settled() {
                self.outputs.swap_remove(at);
            }
        }
        admitted
    }

    /// Notes text of C code and child processes: it waits for no line, and no thread waits for its lines.
    pub fn note_foreign(&mut self, parent: &Arc<Parent>, name: StreamName) {
        if let Some(at) = self.position(parent) {
            self.outputs[at].open[name as usize] = None;
        }
    }

    /// Keeps output that may not be published yet.
    pub fn wait(&mut self, parent: &Arc<Parent>, piece: Piece, join_limit: usize) {
        let Some(at) = self.position(parent) else {
            return; // output is refused only because of a known one
        };
        let waiting = &mut self.outputs[at].waiting;
        let last = waiting.len().saturating_sub(1);
        // A thread continues its own unfinished line, or the very last piece. All else keeps the order of writing, because
        // one thread may have told the other to write.
        if let What::Text(name, text) = &piece.what
            && let Some((at, own)) = waiting.iter_mut().enumerate().rfind(|(_, p)| p.writer == piece.writer)
            && let What::Text(known, before) = &mut own.what
            && known == name
            && (!before.ends_with('\n') || (at == last && before.len() + text.len() <= join_limit))
        {
            before.push_str(text);
            return;
        }
        waiting.push_back(piece);
    }

    /// The next waiting piece that may be published now.
    pub fn next(&mut self, now: Instant) -> Option<(Arc<Parent>, What)> {
        for at in 0..self.outputs.len() {
            let output = &mut self.outputs[at];
            let Some(front) = output.waiting.front() else {
                continue;
            };
            let line = front.what.line();
            if output.is_blocked(front.writer, line.map(|(name, _)| name), now) {
                continue;
            }
            let Some(Piece { writer, what }) = output.waiting.pop_front() else {
                continue;
            };
            if let Some((name, ends)) = line {
                output.note(writer, name, ends, now);
            }
            let parent = output.parent.clone();
            if output.is_settled() {
                self.outputs.swap_remove(at);
            }
            return Some((parent, what));
        }
        None
    }

    /// Takes out all that waits for a request, which ends.
    pub fn release(&mut self, parent: &Arc<Parent>) -> VecDeque<Piece> {
        self.position(parent).map(|at| self.outputs.swap_remove(at).waiting).unwrap_or_default()
    }

    /// Takes out all that waits for any request.
    pub fn release_all(&mut self) -> Vec<(Arc<Parent>, What)> {
        let all = self.outputs.drain(..);
        all.flat_map(|output| {
            output.waiting.into_iter().map(move |piece| (output.parent.clone(), piece.what))
        })
        .collect()
    }

    /// Closes the unfinished lines of a thread, which wants them shown as they are.
    pub fn flush(&mut self, writer: Writer) {
        for output in &mut self.outputs {
            for line in &mut output.open {
                line.take_if(|line| line.owner == writer);
            }
        }
    }

    /// When waiting output may be published at the latest. None if nothing waits.
    pub fn due(&self, now: Instant) -> Option<Instant> {
        let waiting = self.outputs.iter().filter(|output| !output.waiting.is_empty());
        let lines = waiting.flat_map(|output| output.open.iter().flatten());
        lines.filter(|line| line.holds(now)).map(|line| line.since + PATIENCE).min()
    }

    /// Whether no line is open and nothing waits.
    pub fn is_empty(&self) -> bool {
        self.outputs.is_empty()
    }

    fn position(&self, parent: &Arc<Parent>) -> Option<usize> {
        let same =
            |output: &Output| Arc::ptr_eq(&output.parent, parent) || output.parent.msg_id == parent.msg_id;
        self.outputs.iter().position(same)
    }

    fn forget_old(&mut self, now: Instant) {
        if self.outputs.len() > REMEMBERED {
            self.outputs.retain(|output| {
                !output.waiting.is_empty() || output.open.iter().flatten().any(|line| line.holds(now))
            });
        }
    }
}

impl Output {
    fn owner(&self, name: StreamName) -> Option<Writer> {
        self.open[name as usize].map(|line| line.owner)
    }

    /// Whether a line of another thread is open on this stream; on either stream if `name` is none.
    fn is_blocked(&self, writer: Writer, name: Option<StreamName>, now: Instant) -> bool {
        let lines =
            [StreamName::Stdout, StreamName::Stderr].into_iter().filter(|n| name.is_none_or(|it| it == *n));
        lines.filter_map(|n| self.open[n as usize]).any(|line| line.owner != writer && line.holds(now))
    }

    fn note(&mut self, writer: Writer, name: StreamName, ends: bool, now: Instant) {
        let line = &mut self.open[name as usize];
        if ends {
            *line = None;
        } else if !line.is_some_and(|line| line.owner == writer) {
            *line = Some(Line { owner: writer, since: now });
        }
    }

    fn is_settled(&self) -> bool {
        self.waiting.is_empty() && self.open.iter().all(Option::is_none)
    }
}

impl Line {
    fn holds(&self, now: Instant) -> bool {
        now < self.since + PATIENCE
    }
}

#[cfg(test)]
mod tests;
