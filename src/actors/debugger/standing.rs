//! While threads stand: what clients, and the status of the kernel, have to know of it.

use std::time::Duration;

use actix::prelude::*;

use super::state::{Debugger, Flight};

/// How long pydevd may take for an answer about a stop that has ended.
const LATE_PATIENCE: Duration = Duration::from_secs(1);

/// How long clients are silent before a stop counts as quiet.
const QUIET: Duration = Duration::from_secs(2);

impl Debugger {
    pub(super) fn stop_at(&mut self, thread: i64, others: &[i64], ctx: &mut Context<Self>) {
        self.stops.stopped(thread, others);
        self.publisher.standing(true);
        if !std::mem::replace(&mut self.is_watched, true) {
            ctx.run_later(QUIET, Self::busy_when_quiet);
        }
    }

    pub(super) fn go_on(&mut self, thread: Option<i64>, ctx: &mut Context<Self>) {
        let stood = self.stops.any();
        self.stops.continued(thread);
        if stood && !self.stops.any() {
            self.publisher.standing(false);
            // pydevd would answer at the next stop.
            let left: Vec<i64> =
                self.flights.iter().filter(|(_, flight)| flight.needs_stop()).map(|(seq, _)| *seq).collect();
            if !left.is_empty() {
                ctx.run_later(LATE_PATIENCE, move |debugger, ctx| debugger.refuse_late(&left, ctx));
            }
        }
    }

    /// The last status of a kernel whose cell stands is busy, once its clients have seen what they want to see: it is not
    /// to be culled.
    pub(super) fn busy_when_quiet(&mut self, ctx: &mut Context<Self>) {
        self.is_watched = self.stops.any();
        if self.is_watched {
            if !self.is_announced && self.quiet_since.elapsed() >= QUIET {
                self.publisher.busy_again();
                self.is_announced = true;
            }
            ctx.run_later(QUIET, Self::busy_when_quiet);
        }
    }

    pub(super) fn refuse_late(&mut self, seqs: &[i64], ctx: &mut Context<Self>) {
        for seq in seqs {
            if let Some(Flight { purpose, deadline }) = self.flights.remove(seq) {
                ctx.cancel_future(deadline);
                self.refuse_flight(purpose, "the thread has gone on", ctx);
            }
        }
    }
}
