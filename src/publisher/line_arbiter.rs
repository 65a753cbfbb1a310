//! Whose turn it is to write: lines that several threads print into one cell are not cut into each other.
//!
//! `print` writes a line and its end one by one, and the interpreter may go on with another thread in between. So a
//! line belongs to the thread that has begun it. What others have for the same cell meanwhile waits in the order it
//! came, until the line has ended, its thread has flushed it, or half a second has passed: a line that is
//! meant to stay open (a prompt, a progress bar) must not hold up anybody.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::entry::{Piece, What, Writer};
use crate::wire::Parent;
use crate::wire::content::StreamName;

/// For how long others wait for the end of a line. A thread among many gets its turn within the switch interval of
/// each of the others (5 ms).
const PATIENCE: Duration = Duration::from_millis(500);

/// Requests whose lines were left open are forgotten when there are more than this.
const REMEMBERED: usize = 100;

/// The open lines, and what waits for their ends.
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
    /// Whether something may be published now, and if so, takes note of the line it begins or ends (`line`: its stream,
    /// and whether it ends with the end of a line; none if it is no text).
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

    /// Text of C code and child processes: it waits for nobody, and nobody waits for the end of its lines.
    pub fn note_foreign(&mut self, parent: &Arc<Parent>, name: StreamName) {
        if let Some(at) = self.position(parent) {
            self.outputs[at].open[name as usize] = None;
        }
    }

    /// Keeps what may not be published yet.
    pub fn wait(&mut self, parent: &Arc<Parent>, piece: Piece, join_limit: usize) {
        let Some(at) = self.position(parent) else {
            return; // what is refused is refused because of an output that is known
        };
        let waiting = &mut self.outputs[at].waiting;
        let last = waiting.len().saturating_sub(1);
        // A thread goes on with its own unfinished line, or with the very last piece: the order in which
        // threads have written is kept otherwise, because one may have told the other to.
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

    /// The next piece that may be published after all.
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

    /// Everything that waits for a request, which ends: nothing waits for its lines any more.
    pub fn release(&mut self, parent: &Arc<Parent>) -> VecDeque<Piece> {
        self.position(parent).map(|at| self.outputs.swap_remove(at).waiting).unwrap_or_default()
    }

    /// Everything that waits for any request.
    pub fn release_all(&mut self) -> Vec<(Arc<Parent>, What)> {
        let all = self.outputs.drain(..);
        all.flat_map(|output| {
            output.waiting.into_iter().map(move |piece| (output.parent.clone(), piece.what))
        })
        .collect()
    }

    /// A thread wants its unfinished lines shown as they are.
    pub fn flush(&mut self, writer: Writer) {
        for output in &mut self.outputs {
            for line in &mut output.open {
                line.take_if(|line| line.owner == writer);
            }
        }
    }

    /// When something that waits may be published, whatever happens; none if nothing waits.
    pub fn due(&self, now: Instant) -> Option<Instant> {
        let waiting = self.outputs.iter().filter(|output| !output.waiting.is_empty());
        let lines = waiting.flat_map(|output| output.open.iter().flatten());
        lines.filter(|line| line.holds(now)).map(|line| line.since + PATIENCE).min()
    }

    /// Whether there is nothing to look after.
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

    /// Whether another thread's line is open: on this stream, or for what is no text, on either.
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
