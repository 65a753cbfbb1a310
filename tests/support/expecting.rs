//! Answers that a client expects of the kernel.

use super::ALICE;
use super::kernel::TestKernel;
use super::line::{Line, Sent};
use super::sending::cell;
use callboard::delivery::job::Channel;
use callboard::kernel::{self};
use callboard::wire::content::{Error, ErrorReply, ExecuteReply, KernelInfoReply, KernelInfoRequest, reply};

impl TestKernel {
    /// The outcomes of requests of shell that are answered in any order: for each, in short, its publications and its
    /// reply. See [`Line::stories`] and [`Line::replies`].
    #[track_caller]
    pub fn outcomes(&mut self, sent: &[&Sent]) -> Vec<String> {
        let published = self.iopub.stories(sent, |last| last == "idle");
        let replied = self.shell.replies(sent);
        published.iter().zip(replied).map(|(story, reply)| format!("{story}; {reply}")).collect()
    }

    /// The outcome of one request of shell.
    #[track_caller]
    pub fn outcome(&mut self, sent: &Sent) -> String {
        self.outcomes(&[sent]).remove(0)
    }

    /// A cell without output ran to its end. Returns its execution count.
    #[track_caller]
    pub fn ran(&mut self, sent: &Sent, code: &str) -> u64 {
        self.iopub.busy(sent);
        let shown = self.iopub.input(sent, code);
        self.iopub.idle(sent);
        self.succeeded(sent, shown)
    }

    #[track_caller]
    fn succeeded(&mut self, sent: &Sent, shown: u64) -> u64 {
        match self.shell.reply(sent) {
            ExecuteReply::Ok { execution_count, .. } => assert_eq!(execution_count, shown),
            other => panic!("the cell was to succeed, but: {other:?}"),
        }
        shown
    }

    /// A cell without output failed.
    #[track_caller]
    pub fn failed(&mut self, sent: &Sent) {
        let reply: ErrorReply = self.shell.reply(sent);
        assert_eq!(reply.ename, "Failure");
        self.iopub.busy(sent);
        self.iopub.input(sent, "fail");
        let Error { ename, .. } = self.iopub.expect(sent);
        assert_eq!(ename, "Failure");
        self.iopub.idle(sent);
    }

    /// A cell was aborted.
    #[track_caller]
    pub fn aborted(&mut self, sent: &Sent) {
        match self.shell.reply(sent) {
            ExecuteReply::Aborted { .. } => {}
            other => panic!("the cell was to be aborted, but: {other:?}"),
        }
        self.iopub.busy(sent);
        self.iopub.idle(sent);
    }

    /// A request on a channel was refused with an error reply, whose name is returned.
    #[track_caller]
    pub fn refused(&mut self, channel: Channel, sent: &Sent) -> String {
        self.iopub.busy(sent);
        self.iopub.idle(sent);
        let ErrorReply { ename, evalue, .. } = self.line(channel).reply(sent);
        assert!(!evalue.is_empty(), "an error says what is wrong");
        ename
    }

    /// A cell was refused: the same error is shown in the cell and replied. Returns its name and what it says.
    #[track_caller]
    pub fn cell_refused(&mut self, channel: Channel, sent: &Sent) -> (String, String) {
        self.iopub.busy(sent);
        let shown: Error = self.iopub.expect(sent);
        self.iopub.idle(sent);
        let ErrorReply { ename, evalue, traceback, .. } = self.line(channel).reply(sent);
        assert_eq!((&shown.ename, &shown.evalue, &shown.traceback), (&ename, &evalue, &traceback));
        assert!(traceback.concat().contains(&evalue), "frontends show the traceback only");
        (ename, evalue)
    }

    /// The kernel still answers, on shell and on control.
    #[track_caller]
    pub fn answers(&mut self) {
        for channel in [Channel::Shell, Channel::Control] {
            let sent = self.send(channel, ALICE, &KernelInfoRequest {});
            let reply: KernelInfoReply = self.line(channel).reply(&sent);
            assert_eq!(reply.implementation, "callboard");
            self.iopub.busy(&sent);
            self.iopub.idle(&sent);
        }
    }
}
